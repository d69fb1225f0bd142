"""Reading measured runs, saved fits, and the tables that come with the package."""

from qqtjax.io.counts import parse_count as parse_count
from qqtjax.io.read import read_runs as read_runs
