"""What the page's controls show is what the ascents hold."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from pagoda.page import sheets
from pagoda.page.build import render
from steps import gallery
from tests.conftest import changed
from tests.page.conftest import ADVERSARIAL, DRAWN, GAUSSIAN, PIXELS, SEEDS, STANDARD, expect, shown, until
from tests.test_gallery import CLASSES, gathered, write_set


def test_the_page_opens_with_the_claim_and_each_control_shows_what_it_names(open_page, example):
    page = open_page()
    expect(page, example, STANDARD)
    assert (shown(page, "canvas-source") == example[1][STANDARD, 2.0, CLASSES[0]].frames[0, 0]).all()
    page.select_option("#class", label=CLASSES[2])
    expect(page, example, STANDARD, target=2)
    page.get_by_label("1", exact=True).check(force=True)
    expect(page, example, STANDARD, target=2, epsilon=1.0)
    page.select_option("#a", label=ADVERSARIAL)
    expect(page, example, ADVERSARIAL, target=2, epsilon=1.0)
    page.select_option("#b", label=STANDARD)
    expect(page, example, ADVERSARIAL, STANDARD, target=2, epsilon=1.0)
    page.locator("#sources button").nth(1).click()
    expect(page, example, ADVERSARIAL, STANDARD, target=2, epsilon=1.0, source=1)
    page.locator("#step").fill("1")
    expect(page, example, ADVERSARIAL, STANDARD, target=2, epsilon=1.0, source=1, frame=1)
    page.locator("#grid a[data-source='1']").nth(3).click()
    expect(page, example, ADVERSARIAL, STANDARD, target=3, epsilon=1.0, source=1, frame=1)


def quoted(number):
    return f"“\u2068{CLASSES[number]}\u2069”"  # isolated: its letters turn nothing around it


def test_letters_that_turn_the_direction_of_text_turn_nothing(open_page):
    assert open_page().evaluate("quoted('a\u202eb\u2067c')") == "“\u2068abc\u2069”"


def test_every_picture_says_what_it_is(open_page, example):
    page = open_page("#source=1&step=6")
    ascent = example[1][GAUSSIAN, 2.0, CLASSES[0]]
    caption = " ".join(page.locator("#caption-b").inner_text().split())
    for value in ("gaussian-0.5 hash-gaussian-0.5", "σ = 0.5", "N = 16", "ε = 2", "RMS 0.1443", "step 6 of 9",
                  "each of 0.2", "seed 7", "test image 1", CLASSES[0], CLASSES[1], "0123456789ab", "‖δ‖ 2.00",
                  f"{ascent.p_path[6, 1]:.3f}", f"{ascent.p_before[1]:.3f}", f"{ascent.p_after[1]:.3f}",
                  "contrastive cosine ↑ 0.123", "high-frequency fraction ↓ 0.80",
                  f"judge: random patches {quoted(1)} → {quoted(0)}",
                  f"split-half cosine {ascent.split_half[1]:.2f}"):  # fmt: skip
        assert value in caption
    assert "class Gaussians" not in caption
    assert page.evaluate("[...document.querySelectorAll('canvas')].every(c => c.ariaLabel || c.ariaHidden)")
    assert page.locator("#config").inner_text() == "0123456789ab"
    assert page.evaluate("window.hacked") is None


def test_a_link_restores_what_is_shown_and_back_and_forward_walk_it(open_page, example):
    page = open_page()
    page.select_option("#class", label=CLASSES[3])
    page.select_option("#b", label=ADVERSARIAL)
    page.locator("#sources button").nth(2).click()
    page.locator("#step").fill("2")
    for _ in range(2):
        page.keyboard.press("+")
    until(page, "location.hash.includes('zoom=4')")
    address = page.evaluate("location.hash")
    again = open_page(address)
    assert again.evaluate("location.hash") == address
    assert again.locator("#zoom-value").inner_text() == "4×"
    assert (shown(again, "canvas-a") == shown(page, "canvas-a")).all()
    again.keyboard.press("0")
    expect(again, example, STANDARD, ADVERSARIAL, target=3, source=2, frame=2)
    page.keyboard.press("0")
    page.go_back()
    expect(page, example, STANDARD, ADVERSARIAL, target=3)
    page.go_back()
    expect(page, example, STANDARD, target=3)
    page.go_forward()
    expect(page, example, STANDARD, ADVERSARIAL, target=3)


def test_a_link_to_what_is_not_there_says_so(open_page, example):
    page = open_page("#class=<img src=x onerror=alert(1)>&eps=9&a=none&source=1e9&zoom=nan&x&mode=%E0%A4%A")
    assert page.locator("#notice").inner_text().startswith("This link names what this page does not have")
    page.goto(example[0] + "#class=<img%20src=x%20onerror=alert(1)>&a=standard@0")
    assert "class “<img src=x onerror=alert(1)>”" in page.locator("#notice").inner_text()
    expect(page, example, STANDARD)


def test_keys_do_what_the_help_says(open_page, example):
    page = open_page()
    for key, changes in (("]", {"target": 1}), ("[", {}), ("ArrowDown", {"source": 1}), ("ArrowUp", {}),
                         ("ArrowLeft", {"frame": 2}), ("ArrowRight", {})):  # fmt: skip
        page.keyboard.press(key)
        expect(page, example, STANDARD, **changes)
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("]")
    page.keyboard.press("Escape")
    expect(page, example, STANDARD)
    page.keyboard.press(" ")
    until(page, "document.getElementById('step-out').textContent === 'step 3 / 9'")
    page.keyboard.press(" ")
    page.wait_for_timeout(500)
    expect(page, example, STANDARD, frame=int(page.locator("#step").input_value()))
    assert page.locator("#step").input_value() in "12"


def test_zoom_and_drag_move_both_views_alike(open_page, example):
    page = open_page("#zoom=2&x=0.25&y=0.25")
    enlarged = {}
    for slot, view in (("a", STANDARD), ("b", GAUSSIAN)):
        enlarged[slot] = example[1][view, 2.0, CLASSES[0]].frames[3, 0].repeat(2, 1).repeat(2, 2)
        assert (shown(page, f"canvas-{slot}") == enlarged[slot][:, :8, :8]).all()
    page.locator("#canvas-a").scroll_into_view_if_needed()
    box = page.locator("#canvas-a").bounding_box()
    page.mouse.move(box["x"] + 300, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 300 - box["width"], box["y"] + 300, steps=3)
    page.mouse.up()
    for slot, picture in enlarged.items():
        assert (shown(page, f"canvas-{slot}") == picture[:, :8, 8:]).all()


def test_flicker_alternates_a_and_b_in_one_place(open_page, example):
    page = open_page()
    page.keyboard.press("f")
    assert not page.locator("#canvas-b").is_visible()
    pictures = {view: example[1][view, 2.0, CLASSES[0]].frames[3, 0] for view in (STANDARD, GAUSSIAN)}
    for letter, view in (("B", GAUSSIAN), ("A", STANDARD)):
        until(page, f"document.querySelector('#figure-a .badge.now').textContent === '{letter}'")
        assert (shown(page, "canvas-a") == pictures[view]).all()
    page.keyboard.press("f")
    expect(page, example, STANDARD)


def test_what_a_view_lacks_is_said_in_its_place(open_page, example):
    page = open_page("#eps=1&b=gaussian-0.5@0.5,seeds")
    nothing = page.locator("#figure-b .nothing")
    assert f"No ascent of {SEEDS} at ε = 1" in nothing.inner_text()
    assert page.locator("#caption-b").inner_text() == ""
    assert "1 (A alone)" in page.locator("#epsilon").inner_text()
    nothing.get_by_role("button", name="ε = 2").click()
    expect(page, example, STANDARD, SEEDS)
    assert "seed 0 of class" in page.locator("#caption-b").inner_text()
    page.keyboard.press("b")
    assert "No blind test of these two" in page.locator("#blind").inner_text()


def test_tables_and_curves_mark_the_chosen_views(open_page):
    page = open_page()
    table = page.locator("#summary [data-eps]:not([hidden])")
    chosen = table.locator("tr.chosen")
    names = [row.partition("\t")[0].replace("\u00a0", " ") for row in chosen.all_inner_texts()]
    assert names == [f"{STANDARD}1 A", f"{GAUSSIAN}3 B"]  # the numbers: of remarks
    assert "0.25" in chosen.first.inner_text() and "[0.12, 0.38]" in chosen.first.inner_text()
    assert "–" in chosen.first.inner_text()
    assert f"{STANDARD}: N is too small <b>" in table.locator(".flags").inner_text()
    assert "Contrastive cosine ↑" in table.locator("thead").inner_text()
    assert table.locator("tbody tr").count() == 4
    page.get_by_label("1", exact=True).check(force=True)
    assert table.locator("tbody tr").count() == 3
    assert page.locator("#curves g.chosen").evaluate_all("all => all.map(e => e.dataset.key)") == ["gaussian-0.5@0.5"]
    assert page.locator("#curves li.chosen").inner_text() == f"{GAUSSIAN} B"
    assert page.locator("#curves-note").inner_text() == "A is unsmoothed: it has no certificate."
    places = page.locator("#curves g.chosen polyline").get_attribute("points").split()
    assert places == ["44.0,50.0", "336.0,77.5", "628.0,105.0"]  # .9, .775 and .65 at the radii 0, 1/4 and 1/2
    page.select_option("#b", label=ADVERSARIAL)
    assert page.locator("#curves .chosen").count() == 0


@pytest.mark.parametrize("mode", ["side", "flicker", "blind"])
def test_nothing_is_cut_off_or_squeezed(open_page, mode):
    page = open_page(f"#mode={mode}&shown=gradient")
    for width in (320, 390, 640, 821, 1280, 1920):  # 640: as 1280 pixels are at 200 %
        page.set_viewport_size({"width": width, "height": 800})
        until(page, DRAWN)
        assert page.evaluate("document.documentElement.scrollWidth") == width
        wide = """[...document.querySelectorAll('button, select, canvas, output, p, h1, h2, li, dd, summary, span')]
            .filter(e => e.checkVisibility() && !e.closest('.scroll, .hidden, .muted, svg'))
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1
                || e.clientWidth && e.scrollWidth > e.clientWidth + 1
                || e.matches('button, select, canvas') && e.clientWidth < 20).map(e => [innerWidth, e.outerHTML])"""
        assert page.evaluate(wide) == []


def test_the_theme_follows_the_system_until_it_is_chosen(open_page):
    page = open_page()
    colour = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    dark = page.evaluate(colour)
    assert light != dark
    page.click("#theme")
    assert page.locator("#theme").inner_text() == "Theme: light" and page.evaluate(colour) == light
    page.emulate_media(color_scheme="light")
    page.click("#theme")
    assert page.evaluate(colour) == dark


def test_the_lead_chart_has_each_difference_with_its_interval(open_page):
    page = open_page()
    rows = page.locator(".differences").first.locator("tbody tr")
    assert rows.first.inner_text().split("\t")[0] == "Contrastive cosine ↑" and "holds" in rows.first.inner_text()
    assert "0.250[0.125, 0.500]" in rows.first.inner_text().replace("\n", "")
    places = rows.first.locator("line.bar").evaluate("e => [+e.getAttribute('x1'), +e.getAttribute('x2')]")
    assert places == [25, 100] and float(rows.first.locator("circle").get_attribute("cx")) == 50
    assert rows.nth(1).locator("line.bar").count() == 0 and rows.nth(1).locator("circle.hollow").count() == 1


def test_without_scripts_there_are_a_picture_and_the_numbers(browser, example):
    page = browser.new_context(java_script_enabled=False).new_page()
    page.goto(example[0])
    assert page.locator("img.headline").evaluate_all("all => all.map(e => e.naturalWidth)") == [24]
    assert not page.locator("#look").is_visible()
    assert page.locator("#summary [data-eps='2.0'] tbody tr").first.is_visible()
    assert "holds" in page.locator(".differences").first.inner_text()
    page.context.close()


def test_print_shows_every_column_dark_on_light(browser, example, tmp_path):
    context = browser.new_context(color_scheme="dark")
    page = context.new_page()
    page.goto(example[0])
    page.click("#theme")
    page.click("#theme")  # dark by choice
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1030, "height": 700})  # A4, landscape, within its margins
    until(page, "getComputedStyle(document.body).color === 'rgb(29, 29, 27)'")
    cut = "[...document.querySelectorAll('.scroll')].filter(e => e.checkVisibility() && e.scrollWidth > e.clientWidth)"
    assert page.evaluate(f"{cut}.length") == 0
    context.close()


def test_the_flicker_can_be_stopped_and_goes_on(open_page):
    page = open_page("#mode=flicker")
    page.click("#still")
    before = page.locator("#figure-a .badge.now").inner_text()
    page.wait_for_timeout(1400)
    assert page.locator("#figure-a .badge.now").inner_text() == before
    page.keyboard.press("Escape")
    page.click("#still")
    until(page, f"document.querySelector('#figure-a .badge.now').textContent !== '{before}'")


def test_fingers_have_room(browser, example):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    for mode in ("side", "flicker", "blind"):
        page.goto(f"{example[0]}#mode={mode}")
        page.reload()
        small = """[...document.querySelectorAll('button, select, summary, .segments span')]
            .filter(e => e.checkVisibility()).map(e => [e.getBoundingClientRect(), e.outerHTML])
            .filter(([box]) => Math.min(box.height, box.width) < 43.5).map(([, html]) => html)"""
        until(page, "document.querySelector('#class option') !== null")
        assert page.evaluate(small) == []
    context.close()


def test_sheets_beside_the_page_are_shown_and_a_lost_folder_is_told(browser, example, tmp_path):
    folder = tmp_path / "page"
    config, _ = write_set(tmp_path / "set")
    gallery.LIMIT, limit = 2000, gallery.LIMIT
    try:
        gallery.run(changed(config, out=folder / "index.html"))
    finally:
        gallery.LIMIT = limit
    page = browser.new_context().new_page()
    page.goto(f"file://{folder}/index.html")
    until(page, DRAWN)
    assert page.evaluate("byId('canvas-a').drawn !== '' && byId('canvas-a').width > 0") and not page.evaluate(
        "getComputedStyle(byId('notice')).display !== 'none'"
    )
    shown_pixels = page.locator("#canvas-a").screenshot()
    page.select_option("#class", index=1)
    until(page, DRAWN)
    assert page.locator("#canvas-a").screenshot() != shown_pixels
    shutil.rmtree(folder / "sheets")
    page.reload()
    until(page, "!byId('notice').hidden")
    assert "the folder “sheets” belongs beside this page" in page.locator("#notice").inner_text()
    page.context.close()


@pytest.mark.parametrize("shown", ["change", "gradient"])
def test_a_change_and_a_gradient_are_drawn_signed_on_one_scale(open_page, example, shown):
    page = open_page(f"#shown={shown}&step=6")
    ascent = example[1][STANDARD, 2.0, CLASSES[0]]
    change, reach, said = {
        "change": (
            (ascent.frames[2, 0].astype(float) - ascent.frames[0, 0]) / 255,
            3 * ascent.rms,
            "Change from the source to step 6, mean",
        ),
        "gradient": (ascent.gradients[2, 0] / 32, 3, "Gradient of log p̄ₜ at step 6, mean"),
    }[shown]
    change = change.mean(axis=0)
    scale = " ".join(page.locator("#scale").inner_text().split())
    assert scale.startswith(said) and f": −{round(reach, 2):g} +{round(reach, 2):g}" in scale
    seen = np.asarray(Image.open(io.BytesIO(page.locator("#canvas-a").screenshot())).convert("RGB")).astype(int)
    places = ((np.arange(8) + 0.5) * seen.shape[0] / 8).astype(int)
    red, _, blue = seen[np.ix_(places, places)].transpose(2, 0, 1)
    assert ((red > blue) == (change > 0))[np.abs(change) > 0.1 * reach].all()
    for end, colour in ((change > 1.1 * reach, [103, 0, 31]), (change < -1.1 * reach, [5, 48, 97])):
        assert end.any() and np.abs(seen[np.ix_(places, places)][end] - colour).max() <= 3


def test_the_loupe_shows_one_place_of_all_three_pictures(open_page):
    page = open_page()
    page.keyboard.press("l")
    for _ in range(7):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    where = "[...document.querySelectorAll('.lens:not([hidden])')].map(e => [e.style.left, e.style.top])"
    assert page.evaluate(where) == [["85%", "45%"]] * 3
    middle = """() => [...document.querySelectorAll('#stage .frame')].map(frame => [...frame.querySelectorAll('canvas')]
        .map((c, k) => [...new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true}) && (() => {
            const copy = new OffscreenCanvas(c.width, c.height).getContext('2d'); copy.drawImage(c, 0, 0);
            return copy.getImageData((k ? .5 : .85) * c.width, (k ? .5 : .45) * c.height, 1, 1).data })()]))"""
    for picture, lens in page.evaluate(middle):
        assert picture == lens
    page.keyboard.press("l")
    assert page.evaluate(where) == []


def test_a_thousand_classes_are_found_by_name_and_large_pictures_shrunk(browser, tmp_path, monkeypatch):
    monkeypatch.setattr(sheets, "LOSSLESS", 4)
    monkeypatch.setattr(sheets, "OVERVIEW", 4)
    config, ascents = write_set(tmp_path)
    data = gathered(config)
    opened = [one for one in data["ascents"] if (one["epsilon"], one["target"]) == (2.0, CLASSES[0])][:3]
    names = [f"class {k}" for k in range(1000)]
    many = {"classes": names, "ascents": [one | {"target": name} for one in opened for name in names], "foil": None}
    path = tmp_path / "many.html"
    path.write_text(render({"experiment": "many", "config": ""} | data | many), encoding="utf-8")
    page = browser.new_context().new_page()
    page.goto(f"file://{path}#class=class+519")
    until(page, DRAWN)
    shown_names = "[...document.querySelectorAll('#grid a[data-source=\"0\"]')].map(e => e.dataset.class)"
    assert page.evaluate(shown_names) == names[500:520]
    end = ascents[len(CLASSES)].frames[3, 0].astype(float)  # of the standard view, at the second epsilon
    means = end.reshape(3, 4, 2, 4, 2).mean(axis=(2, 4)).repeat(2, 1).repeat(2, 2)
    seen = page.locator("#grid canvas").first.evaluate(PIXELS)
    assert np.abs(np.array(seen).reshape(8, 8, 3).transpose(2, 0, 1) - means).max() <= 0.5
    page.keyboard.press("]")
    assert page.evaluate(shown_names) == names[520:540]
    page.fill("#find", "Class 77")
    assert page.evaluate(shown_names) == ["class 77", *names[770:780]]
    page.click("#grid a[data-class='class 775']")
    until(page, "state.class === 'class 775'")
    assert "11 of 1000 classes" in page.locator("#grid-note").inner_text()
    page.context.close()
