"""Accessibility, by axe-core (MPL 2.0): no violation in any state of the page, in either theme."""

import pytest

from tests.conftest import ROOT
from tests.page.conftest import DRAWN, until

AXE = ROOT / ".venv" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
STATES = ("", "#mode=flicker&shown=change", "#mode=blind", "#eps=1&b=gaussian-0.5@0.5,seeds")


@pytest.mark.skipif(not AXE.is_file(), reason="no axe-core: make test installs it where npm is")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser, example, theme):
    context = browser.new_context(bypass_csp=True, color_scheme=theme, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    found = {}
    for address in (*STATES, "trial", "result"):
        if address.startswith("#") or not address:
            page.goto("about:blank")
            page.goto(example[0] + address)
        else:
            page.goto("about:blank")
            page.goto(example[0] + "#mode=blind")
            page.click("#begin")
        if address == "result":
            page.evaluate("show({answers: 'l'.repeat(trialsOf().length)}, {keep: true})")
        until(page, DRAWN)
        page.evaluate(AXE.read_text(encoding="utf-8"))
        result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        found |= {f"{address} {one['id']}": [n["html"][:200] for n in one["nodes"]] for one in result["violations"]}
    context.close()
    assert found == {}
