"""The site of the documentation: `make docs` builds it by Sphinx into build/site.

Pages are Markdown (MyST). Those of the gallery, of the commands and of the Python API are written at each build from
the examples, the command and the docstrings, so that none of them can be out of date.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "site"))

import gallery  # noqa: E402

from derivgen.version import __version__  # noqa: E402

project = "derivgen"
author = "the developers of derivgen"
release = __version__
copyright = f"{author}, Apache-2.0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_click", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["site", "build"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # the tests run the notebook; the site shows what it gave
suppress_warnings = ["misc.highlighting_failure"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_default_options = {"exclude-members": "set_fit_request, set_score_request, set_predict_request"}

smartquotes = False

html_theme = "furo"
html_title = "derivgen"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True


def as_restructured(app, what, name, of, options, lines):
    """Docstrings are plain text with code between backticks: escape what reStructuredText takes for marks."""
    for i, line in enumerate(lines):
        parts = re.split(r"(`[^`]*`)", line)
        lines[i] = "".join(f"`{p}`" if p.startswith("`") else re.sub(r"([*|_\\])", r"\\\1", p) for p in parts)


def setup(app):
    app.connect("builder-inited", lambda app: gallery.write(HERE / "gallery"))
    app.connect("autodoc-process-docstring", as_restructured)
