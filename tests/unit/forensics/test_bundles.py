"""Bundles and capsules are read by one reader, whichever command wrote them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from uuid import UUID

import pytest

from flowforge import forensics as fx
from flowforge.client import bundles, capsules
from flowforge.errors import CapsuleError
from tests.unit.forensics.support import RUN, bundle, case, retried

OTHER = UUID(int=RUN.int + 1)


def test_a_single_run_is_written_as_its_capsule(tmp_path: Path):
    source = bundle(case(retried()))

    path = fx.export_bundle(str(RUN), tmp_path / "one.ffz", source=source)

    assert capsules.read(path).document() == source.case(RUN).capsule.document()
    assert [one.run.id for one in bundles.read(path)] == [RUN]
    assert fx.open_source(path).case(RUN).run == source.case(RUN).run


def test_several_runs_are_an_archive_that_says_what_it_is(tmp_path: Path):
    source = bundle(case(retried()), case(retried(), OTHER))

    path = fx.export_bundle([RUN, OTHER], tmp_path / "both.ffz", source=source)

    assert [one.run.id for one in bundles.read(path)] == [RUN, OTHER]
    assert list(fx.runs(source=fx.open_source(path))["run"]) == [str(OTHER), str(RUN)]
    with pytest.raises(CapsuleError, match="is a bundle of several runs") as refused:
        capsules.read(path)
    assert "flowforge import" in str(refused.value.hint)


def test_nothing_is_left_of_a_bundle_that_could_not_be_finished(tmp_path: Path):
    one, other = case(retried()).capsule, case(retried(), OTHER).capsule

    def failing():
        yield one
        yield other
        raise RuntimeError("the server went away")

    with pytest.raises(RuntimeError):
        bundles.write(failing(), tmp_path / "half.ffz", one.exported_at)
    assert not list(tmp_path.iterdir())


def test_an_archive_without_runs_or_with_damaged_ones_is_refused(tmp_path: Path):
    path = tmp_path / "bad.ffz"
    for name, content, words in (
        ("else.txt", b"x", "no runs in it"),
        ("runs/1.ffz", b"x", "not compressed"),
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, content)
        with pytest.raises(CapsuleError, match=words):
            bundles.read(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CapsuleError, match="damaged"):
        bundles.read(path)
