# SPDX-License-Identifier: Apache-2.0
"""The panels of one browser: what is shown, the photos, the course of the training."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from sparse3d.viewer.modes import COLOUR, MODES, SUPPORT  # pyright: ignore[reportMissingImports]
from sparse3d.viewer.timeline import Course, read_course  # pyright: ignore[reportMissingImports]

if TYPE_CHECKING:
    from sparse3d.viewer.client_page import ClientPage  # pyright: ignore[reportMissingImports]

_UPS = {"+X": (1, 0, 0), "-X": (-1, 0, 0), "+Y": (0, 1, 0), "-Y": (0, -1, 0), "+Z": (0, 0, 1), "-Z": (0, 0, -1)}
_AS_PHOTOS, _NO_PHOTO = "as in the photos", "none"
_CURVES = (("Loss", "loss", "#e0a030"), ("PSNR of training photos, dB", "psnr", "#50a0ff"), ("", "count", "#60c080"))


class Panels:
    """Handles of the panels; the `show_` methods may be called before `build`, and then do nothing."""

    def __init__(self, browser: ClientPage) -> None:
        self._browser = browser
        self._facts: Any = None
        self._pace: Any = None
        self._photo: Any = None
        self._photo_note: Any = None
        self._curves: list[Any] = []

    def build(self, gui: Any) -> None:
        self._facts = gui.add_markdown("")
        self.show_facts()
        tabs = gui.add_tab_group()
        with tabs.add_tab("View"):
            self._build_view(gui)
        if self._browser.photo_names:
            with tabs.add_tab("Photos"):
                self._build_photos(gui)
        if self._course() is not None:
            with tabs.add_tab("Training"):
                self._build_course(gui)
        home = gui.add_command("Go to the first view", hotkey="H")
        home.on_trigger(lambda _: self._browser.go_home())

    def show_facts(self) -> None:
        """Numbers of what is shown now, and the subject's notes."""
        if self._facts is None:
            return
        subject = self._browser.page.subject
        now = subject.now
        lines = [f"**{now.splats.num_splats:,} splats**, harmonics of degree {now.splats.sh_degree}"]
        if now.step is not None:
            lines.append(f"Step {now.step:,} of the training")
        lines += [plain(note) for note in subject.notes]
        self._facts.content = "\n\n".join(lines)

    def show_pace(self, width: int, height: int) -> None:
        if self._pace is not None:
            seconds = self._browser.page.painter.pace.seconds
            speed = f"; while moving {1 / seconds:.0f} pictures a second" if seconds > 0 else ""
            self._pace.content = f"Picture of {width} x {height}{speed}"

    def show_photo(self, name: str | None, *, there: bool) -> None:
        """Which photo the browser stands at; `there`: its pixels can be shown."""
        if self._photo_note is None:
            return
        if name is None:
            self._photo_note.content = "Click a photo's frame in the scene, or choose one here."
        elif there:
            self._photo_note.content = "The photo is left of the line, the rendering right of it."
        else:
            self._photo_note.content = "This photo cannot be shown (yet); the view stands where it was taken."
        shown = name or _NO_PHOTO
        if self._photo.value != shown:
            self._photo.value = shown

    def show_course(self) -> None:
        """The curves with what the run has told since."""
        course = self._course()
        if course is not None:
            for handle, (_, name, _) in zip(self._curves, _CURVES, strict=False):
                handle.data = (course.steps, _values(course, name))

    def _build_view(self, gui: Any) -> None:
        browser, subject = self._browser, self._browser.page.subject
        modes = [mode for mode in MODES if mode != SUPPORT or subject.now.support is not None]
        mode = gui.add_dropdown("Show", tuple(modes), initial_value=COLOUR)
        mode.on_update(lambda _: browser.set_look(mode=mode.value))
        background = gui.add_rgb("Background", (0, 0, 0))
        background.on_update(lambda _: browser.set_look(background=tuple(c / 255 for c in background.value)))
        highest = subject.now.splats.sh_degree
        if highest > 0:
            degree = gui.add_slider("Harmonics", 0, highest, 1, highest, hint="Colours that change with the view")
            degree.on_update(lambda _: browser.set_look(sh_degree=int(degree.value)))
        up = gui.add_dropdown("Up", (_AS_PHOTOS, *_UPS), initial_value=_AS_PHOTOS)
        up.on_update(lambda _: browser.set_up(np.array(_UPS.get(up.value, subject.home.camera.up), dtype=np.float64)))
        home = gui.add_button("First view", hint="Key H")
        home.on_click(lambda _: browser.go_home())
        self._pace = gui.add_markdown("")

    def _build_photos(self, gui: Any) -> None:
        browser = self._browser
        names = browser.photo_names
        self._photo = gui.add_dropdown("Stand at", (_NO_PHOTO, *names), initial_value=_NO_PHOTO)

        def chosen(event: Any) -> None:
            # Only what the user chose: the browser sets the value itself when a frame is clicked.
            if event.client is None:
                return
            if self._photo.value == _NO_PHOTO:
                browser.leave_photo()
            else:
                browser.stand_at(self._photo.value)

        self._photo.on_update(chosen)
        wipe = gui.add_slider("Photo, percent", 0, 100, 1, 50, hint="How much of the width shows the photo")
        wipe.on_update(lambda _: browser.set_wipe(wipe.value / 100))
        browser.wipe = 0.5
        frames = gui.add_checkbox("Frames in the scene", True)
        frames.on_update(lambda _: browser.show_frames(frames.value))
        self._photo_note = gui.add_markdown("")
        self.show_photo(None, there=False)
        if any(named.split == "test" for named in browser.page.subject.cameras):
            gui.add_markdown("Blue frames trained, orange ones were held out.")

    def _build_course(self, gui: Any) -> None:
        course = self._course()
        assert course is not None, "asked before"
        for heading, name, colour in _CURVES:
            title = heading or f"{course.counted.capitalize()}, thousands"
            self._curves.append(
                gui.add_uplot(
                    (course.steps, _values(course, name)),
                    ({"label": "Step"}, {"label": title, "stroke": colour, "width": 2}),
                    title=title,
                    scales={"x": {"time": False}},
                    legend={"show": False},
                    aspect=1.8,
                )
            )

    def _course(self) -> Course | None:
        run = self._browser.page.subject.run
        return None if run is None else read_course(run.path)


def _values(course: Course, name: str) -> np.ndarray:
    """[P] of a curve; counts in thousands, for long numbers do not fit beside it."""
    return course.count / 1000.0 if name == "count" else getattr(course, name)


def plain(text: str) -> str:
    """Text with every sign that Markdown could take for its own marked as text; names of files come from anybody."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)
