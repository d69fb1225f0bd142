"""Planning of experiments: what to run before anything is measured, and what to run next."""

from qqtjax.design.belief import Belief as Belief
from qqtjax.design.belief import believe as believe
from qqtjax.design.candidates import Candidate as Candidate
from qqtjax.design.design import Design as Design
from qqtjax.design.design import Expected as Expected
from qqtjax.design.design import Study as Study
from qqtjax.design.design import design as design
from qqtjax.design.implicit import sensitivity as sensitivity
from qqtjax.design.next_run import NextRun as NextRun
from qqtjax.design.next_run import Worth as Worth
from qqtjax.design.next_run import next_run as next_run
