# SPDX-License-Identifier: Apache-2.0
"""What a file of text is that is none of ours. One line proves nothing, for prose may begin with "o " or "solid "."""

from __future__ import annotations

import re
from typing import NamedTuple


class Foreign(NamedTuple):
    """what: the file is, as "a 7z archive"; advice: the next step, without a full stop."""

    what: str
    advice: str


EXPORT = "export the splats as PLY, SPZ or SOG with the program that made it"
MESH = "give splats (PLY, SPZ, SOG, glTF), or photos to train"
_NUMBER = rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
# Lines of Wavefront's OBJ that hold numbers: places, normals, corners.
_OBJ_LINE = re.compile(
    rb"^(v|vn|vt)([ \t]+" + _NUMBER + rb"){2,7}[ \t]*$|^f([ \t]+-?\d+(/-?\d*){0,2}){3,}[ \t]*$", re.M
)
_STL_LINE = re.compile(rb"^\s*(facet normal|outer loop|vertex)\b", re.M)
# Names that a JSON object has near its beginning.
_JSON = (
    ((b'"totalSplats"', b'"totalLevel'), Foreign("an index of LCC (XGRIDS)", EXPORT)),
    (
        (b'"lodLevels"', b'"filenames"'),
        Foreign("the index of a streamed SOG", "give the meta.json of one of its folders, as 0_0/meta.json"),
    ),
    ((b'"asset"', b'"version"'), Foreign("a glTF in JSON", "export it as one .glb file with everything in it")),
    ((b'"frames"', b'"file_path"'), Foreign("a list of cameras (transforms.json)", "give its folder to train")),
)


def foreign_text(head: bytes) -> Foreign | None:
    """What a file of text that begins with `head` is; None where it is not known."""
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    small = text[:64].lower()
    if small.startswith((b"<!doctype html", b"<html")):
        return Foreign("a web page", "if it came from a download, the link led to a page: download the file itself")
    if text.startswith(b"{"):
        return next((found for names, found in _JSON if all(name in text for name in names)), None)
    if text.startswith((b"# .PCD v", b"VERSION .7\n")) and b"\nFIELDS " in text:
        return Foreign("a PCD point cloud", "save it as PLY: train takes that with --points, beside photos")
    if text.startswith(b"#usda"):
        return Foreign("a USD file", EXPORT)
    if text.startswith(b"; FBX "):
        return Foreign("an FBX file (a mesh)", MESH)
    if small.startswith(b"solid") and len(_STL_LINE.findall(text)) >= 2:
        return Foreign("a mesh (STL)", MESH)
    if len(_OBJ_LINE.findall(text.replace(b"\r\n", b"\n"))) >= 2:
        return Foreign("a mesh (OBJ)", MESH)
    return None
