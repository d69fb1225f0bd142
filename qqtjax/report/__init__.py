"""The report: one HTML file that opens offline. The page is written by plotly and jinja2, loaded when it is."""

from qqtjax.report.contents import Preset as Preset
from qqtjax.report.contents import Provenance as Provenance
from qqtjax.report.contents import Report as Report
from qqtjax.report.gather import report as report
