"""The reference builds without a warning, and every public function and class says what it promises."""

import inspect
import re
import warnings
from pathlib import Path

import pytest

import qqtjax

# pdoc looks for the annotations of a NamedTuple's constructor in the module that made it, not in the class's own.
NAMED_TUPLES = r"Error parsing type annotation ForwardRef\(.*\) for .*\.__init__\."
# Rooms that the top level does not name.
HIDDEN = ("qqtjax.design", "qqtjax.io", "qqtjax.pools")
PUBLIC = {name: getattr(qqtjax, name) for name in qqtjax.__all__}
FUNCTIONS = sorted(name for name, each in PUBLIC.items() if inspect.isfunction(each))
RESULTS = sorted(name for name, each in PUBLIC.items() if inspect.isclass(each) and not issubclass(each, Exception))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_public_function_says_what_it_takes_and_gives(name):
    text = inspect.getdoc(PUBLIC[name]) or ""
    signature = inspect.signature(PUBLIC[name])
    taken = list(signature.parameters)
    sections = ["Args:", "Example:", *(["Returns:"] if signature.return_annotation not in (None, "None") else [])]
    assert [each for each in sections if f"\n{each}\n" not in text] == []
    described = re.findall(r"^    \*{0,2}(\w+):", text.split("Args:\n")[1].split("\n\n")[0], flags=re.M)
    assert described == taken


@pytest.mark.parametrize("name", RESULTS)
def test_a_public_class_says_what_it_is(name):
    own = PUBLIC[name].__doc__ or ""
    assert len(own.splitlines()[0]) > 15
    assert not own.startswith(f"{name}("), "the text that Python makes up"


@pytest.mark.slow
def test_the_reference_builds(tmp_path):
    pdoc = pytest.importorskip("pdoc")
    pdoc.render.configure(docformat="google")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", NAMED_TUPLES)
        pdoc.pdoc("qqtjax", *HIDDEN, output_directory=tmp_path)
    first = (tmp_path / "qqtjax.html").read_text()
    assert [name for name in FUNCTIONS + RESULTS if f'id="{name}"' not in first] == []
    assert not re.findall(r'(?:src|href)="https?://(?!arxiv|pdoc|github)[^"]*"', first)
    pages = {str(page.relative_to(tmp_path).with_suffix("")).replace("/", ".") for page in tmp_path.rglob("*.html")}
    package = Path(qqtjax.__file__).parent
    rooms = {f"qqtjax.{each.parent.name}" for each in package.glob("*/__init__.py")} - {"qqtjax.cli"}
    assert rooms <= pages
