# SPDX-License-Identifier: Apache-2.0
"""`data list` and `data get`: against a server on this machine, and against archives that want to do harm."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sparse3d.cli.data.get import Args, fetch
from sparse3d.cli.main import main
from sparse3d.errors import DataError, UsageError
from sparse3d.load.archives import UnpackLimits, safe_name, unpack
from sparse3d.load.cards import cards_folder, read_card, read_cards
from sparse3d.load.download import DownloadLimits, check_url, download

LOCAL = DownloadLimits(max_bytes=1_000_000, http_on_localhost=True)
PHOTO = b"a photo" * 1000


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def make_zip(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, data in members.items():
            zipped.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    return out.getvalue()


def make_tar(members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tarred:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            tarred.addfile(info, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str, bytes], str]]:
    """`server(name, data)` is the address of a file on this machine; `/cut/` sends half, `/away/` redirects to http."""
    root = tmp_path_factory.mktemp("served")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(root))  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if self.path.startswith("/away/"):
                self.send_response(302)
                self.send_header("Location", "http://example.invalid/x")
                self.end_headers()
            elif self.path.startswith("/cut/"):
                self.send_response(200)
                self.send_header("Content-Length", str(2 * len(PHOTO)))
                self.end_headers()
                self.wfile.write(PHOTO)
            elif self.path.startswith("/endless/"):
                self.send_response(200)
                self.end_headers()
                # No length is stated and more comes than the limit allows; the client hangs up.
                try:
                    for _ in range(1000):
                        self.wfile.write(bytes(100_000))
                except OSError:
                    self.close_connection = True
            else:
                super().do_GET()

        def log_message(self, *args: object) -> None:
            """Nothing: the tests read stderr."""

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()

    def serve(name: str, data: bytes = b"") -> str:
        if data:
            (root / name).write_bytes(data)
        return f"http://127.0.0.1:{httpd.server_address[1]}/{name}"

    yield serve
    httpd.shutdown()
    httpd.server_close()


def test_get_an_archive_unpacks_it_without_its_outer_folder(
    server: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = make_zip({"scene/images/a.jpg": PHOTO, "scene/transforms.json": b"{}"})
    target = tmp_path / "mit Lücke é"
    assert fetch(Args(server("s.zip", data), sha256=sha(data).upper(), out=target), LOCAL) == target
    assert (target / "images" / "a.jpg").read_bytes() == PHOTO
    assert sorted(p.name for p in target.iterdir()) == ["images", "transforms.json"]
    assert [p.name for p in tmp_path.iterdir()] == [target.name], "nothing temporary is left"
    assert capsys.readouterr().err.startswith("licence: not known")


def test_get_a_tar_and_a_plain_file(server: Callable[..., str], tmp_path: Path) -> None:
    data = make_tar([(member("a.jpg"), PHOTO), (member("b/c.jpg"), PHOTO)])
    fetch(Args(server("s.tar.gz", data), sha256=sha(data), out=tmp_path / "tar"), LOCAL)
    assert (tmp_path / "tar" / "b" / "c.jpg").read_bytes() == PHOTO
    fetch(Args(server("v.mp4", PHOTO), sha256=sha(PHOTO), out=tmp_path / "file"), LOCAL)
    assert (tmp_path / "file" / "v.mp4").read_bytes() == PHOTO


def test_get_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                    server: Callable[..., str]) -> None:  # fmt: skip
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / "toy.toml").write_text(
        f'name = "toy"\nwhat = "A toy."\nlicence = "CC0"\nrepository = "a/b"\ncommit = "{"0" * 40}"\n'
        f'[[files]]\npath = "a.jpg"\nbytes = {len(PHOTO)}\nsha256 = "{sha(PHOTO)}"\n'
    )
    base = server("a.jpg", PHOTO).rsplit("/", 1)[0]
    monkeypatch.setattr("sparse3d.load.cards.cards_folder", lambda: tmp_path / "cards")
    monkeypatch.setattr("sparse3d.load.cards.SceneCard.url", lambda self, file: f"{base}/{file.path}")
    target = tmp_path / "toy"
    fetch(Args("toy", out=target), LOCAL)
    assert (target / "a.jpg").read_bytes() == PHOTO
    assert capsys.readouterr().err.startswith("toy: A toy.\nlicence: CC0\n"), "the licence comes first"
    with pytest.raises(UsageError, match="is not empty; add --overwrite"):
        fetch(Args("toy", out=target), LOCAL)
    fetch(Args("toy", out=target, overwrite=True), LOCAL)
    with pytest.raises(UsageError, match="unknown scene 'tyo'; did you mean 'toy'"):
        fetch(Args("tyo", out=target), LOCAL)


def test_wrong_checksum_keeps_nothing(server: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"have SHA-256 {sha(PHOTO)}, not the stated {'0' * 64}"):
        fetch(Args(server("a", PHOTO), sha256="0" * 64, out=tmp_path / "x"), LOCAL)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.zip", "the server answered 404"),
        ("cut/a", f"cut off after {len(PHOTO)} of {2 * len(PHOTO)} bytes"),
        ("away/a", "only https addresses are fetched"),
        ("endless/a", "is longer than the limit of 1000000 bytes"),
    ],
)
def test_bad_answers(server: Callable[..., str], tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        download(server(name), tmp_path / "x", "0" * 64, LOCAL)
    assert list(tmp_path.iterdir()) == []


def test_a_stated_size_over_the_limit_is_refused_at_once(server: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 7000 bytes, more than the limit of 100"):
        download(server("a", PHOTO), tmp_path / "x", sha(PHOTO), DownloadLimits(100, http_on_localhost=True))


@pytest.mark.parametrize("url", ["http://example.com/a", "ftp://example.com/a", "file:///etc/passwd", "https:///a"])
def test_only_https(url: str) -> None:
    with pytest.raises(UsageError, match="only https"):
        check_url(url, LOCAL)


def test_http_on_this_machine_is_not_for_commands(
    server: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "get", server("a", PHOTO), "--sha256", sha(PHOTO)]) == 2
    assert "only https addresses" in capsys.readouterr().err


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be reached"):
        download("http://127.0.0.1:9/x", tmp_path / "x", "0" * 64, LOCAL)


EVIL_NAMES = [
    "../out", "a/../../out", "/abs", "C:/x", "C:x", "a\\..\\b", "..", "a/..", "nul", "a/CON.txt", "dot. ", "a/b.",
]  # fmt: skip


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_names_that_leave_the_folder(tmp_path: Path, name: str) -> None:
    assert safe_name(name) is None
    for suffix, data in (("zip", make_zip({"good": b"1", name: b"x"})), ("tar", make_tar([(member(name), b"x")]))):
        archive = tmp_path / f"a.{suffix}"
        archive.write_bytes(data)
        with pytest.raises(DataError, match="outside of the target folder"):
            unpack(archive, tmp_path / "in" / "target")
        assert not (tmp_path / "in").exists(), "all names are checked before anything is written"
        assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in tmp_path.glob("a.*"))


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device"),
        (tarfile.FIFOTYPE, "a device"),
    ],
)
def test_tar_links_and_devices(tmp_path: Path, kind: bytes, word: str) -> None:
    (tmp_path / "a.tar").write_bytes(make_tar([(member("x", kind, "/etc/passwd"), b"")]))
    with pytest.raises(DataError, match=f"member 'x' is {word}"):
        unpack(tmp_path / "a.tar", tmp_path / "t")


def test_zip_links_and_encrypted_members(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zipped:
        info = zipfile.ZipInfo("x")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        zipped.writestr(info, "/etc/passwd")
    (tmp_path / "a.zip").write_bytes(out.getvalue())
    with pytest.raises(DataError, match="member 'x' is a link"):
        unpack(tmp_path / "a.zip", tmp_path / "t")
    plain = bytearray(make_zip({"x": b"1"}))
    plain[plain.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.zip").write_bytes(plain)
    with pytest.raises(DataError, match="member 'x' is encrypted"):
        unpack(tmp_path / "b.zip", tmp_path / "t")


def test_bombs_are_cut_off_by_what_comes_out(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(make_zip({"big": bytes(5_000_000)}))
    assert (tmp_path / "a.zip").stat().st_size < 10_000
    with pytest.raises(DataError, match="unpacks to more than the limit of 1000000 bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "t", UnpackLimits(max_bytes=1_000_000))
    (tmp_path / "b.tar").write_bytes(make_tar([(member(f"{i}"), b"") for i in range(12)]))
    with pytest.raises(DataError, match="more than 10 files"):
        unpack(tmp_path / "b.tar", tmp_path / "t", UnpackLimits(max_files=10))


def test_one_name_twice_and_a_file_where_a_folder_is(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(make_zip({"A.jpg": b"1", "a.jpg": b"2"}))
    with pytest.raises(DataError, match=r"'a\.jpg' is there twice"):
        unpack(tmp_path / "a.zip", tmp_path / "t")
    (tmp_path / "b.zip").write_bytes(make_zip({"a": b"1", "a/b": b"2"}))
    with pytest.raises(DataError, match="'a/b' stands where another member is"):
        unpack(tmp_path / "b.zip", tmp_path / "t")


def test_every_truncated_archive_is_refused_or_gives_whole_files(tmp_path: Path) -> None:
    wholes = {
        "zip": make_zip({"a": PHOTO, "b": PHOTO}),
        "tar.gz": make_tar([(member("a"), PHOTO), (member("b"), PHOTO)]),
        "tar.xz": make_tar([(member("a"), PHOTO), (member("b"), PHOTO)], "w:xz"),
    }
    for suffix, whole in wholes.items():
        path = tmp_path / f"a.{suffix}"
        passed, refused = [], []
        for length in range(0, len(whole), 5):
            path.write_bytes(whole[:length])
            target = tmp_path / f"{suffix}{length}"
            try:
                unpack(path, target)
            except DataError as error:
                refused.append(str(error))
            else:
                passed.append(length)
                assert [(target / name).read_bytes() for name in "ab"] == [PHOTO, PHOTO]
        assert refused
        assert all("damaged archive" in message for message in refused)
        # What stands after the last file (checksums and indices of the compression, up to 80 bytes) may be missing.
        assert all(length > len(whole) - 80 for length in passed), (suffix, passed)


def test_cards_of_this_package_are_whole_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    cards = {card.name: card for card in read_cards()}
    assert "fox" in cards
    assert cards["fox"].url(cards["fox"].files[0]) == (
        "https://raw.githubusercontent.com/NVlabs/instant-ngp/abe236ee00cf90cfca6e36e65c00435d5b21f50a/"
        "data/nerf/fox/images/0001.jpg"
    )
    assert main(["data", "list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["name"] for row in rows} == set(cards)
    assert all(row["licence"] for row in rows)


@pytest.mark.parametrize(
    ("card", "folder"), [("fox", "fox"), ("lund_door", "sfm_lund_door"), ("mobilebrick5", "mobilebrick_5")]
)
def test_checksums_of_cards_are_of_the_real_files(card: str, folder: str, shared_scene: Callable[[str], Path]) -> None:
    root = shared_scene(folder)
    files = read_card(cards_folder() / f"{card}.toml").files
    assert len(files) > 10
    for file in files:
        data = (root / file.path).read_bytes()
        assert (len(data), sha(data)) == (file.bytes, file.sha256), file.path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("commit = ", "#"), "key 'commit' is missing"),
        (("0" * 40, "main"), "must be 40 hexadecimal digits"),
        (("a.jpg", "../a.jpg"), "needs a relative path"),
        (("licence", "license"), "key 'licence' is missing"),
        (("sha256", "md5"), "a file without a good 'sha256'"),
        (('"toy"', '"toy'), "not a scene card"),
    ],
)
def test_bad_cards(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    text = (
        f'name = "toy"\nwhat = "A toy."\nlicence = "CC0"\nrepository = "a/b"\ncommit = "{"0" * 40}"\n'
        f'[[files]]\npath = "a.jpg"\nbytes = 1\nsha256 = "{"1" * 64}"\n'
    )
    path = tmp_path / "toy.toml"
    path.write_text(text)
    assert read_card(path).name == "toy"
    path.write_text(text.replace(*change, 1))
    with pytest.raises(DataError, match=message):
        read_card(path)
