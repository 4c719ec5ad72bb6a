"""Compiled kernels are kept somewhere, whoever runs the service, and where nobody else can write."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from service.cli import machine_code
from service.cli.machine_code import NAMED
from tests.conftest import CHECKOUT

PACKAGE, HOME = CHECKOUT / "service", Path("/home/me/.cache")


def placed(tmp_path: Path, *writable: Path, named: str = "") -> str | None:
    """Return the folder that is named, where only these can be written."""
    known = {"XDG_CACHE_HOME": str(HOME), NAMED: named}
    machine_code.place(known, lambda: str(tmp_path), lambda folder: folder in writable)
    return known[NAMED] or None


def test_numba_needs_no_help_where_it_may_write(tmp_path):
    """Beside the package, in the user's cache, or where somebody said."""
    assert placed(tmp_path, PACKAGE) is None
    assert placed(tmp_path, HOME) is None
    assert "/here" == placed(tmp_path, named="/here")
    assert [] == list(tmp_path.iterdir())


def test_elsewhere_a_folder_of_this_user_alone_is_named(tmp_path):
    """The same for every process."""
    found = placed(tmp_path)
    assert found is not None
    assert 0o700 == stat.S_IMODE(Path(found).stat().st_mode)
    assert found == placed(tmp_path)


@pytest.mark.parametrize("trap", ["open", "link", "file"])
def test_a_folder_that_others_may_have_prepared_is_not_used(tmp_path, trap):
    """What lies there would be run."""
    place = tmp_path / f"headwater-compiled-{os.getuid()}"
    if trap == "link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        place.symlink_to(tmp_path / "elsewhere")
    elif trap == "file":
        place.write_text("")
    else:
        place.mkdir()
        place.chmod(0o777)

    found = placed(tmp_path)

    assert found != str(place)
    assert found is None or 0o700 == stat.S_IMODE(Path(found).stat().st_mode)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become another user")
def test_a_user_who_may_write_nowhere_can_start_the_service():
    """Another user's installation, and no home: kernels are imported all the same."""
    code = (
        "import os; from service.cli import machine_code; "
        "machine_code.place(os.environ); "
        "from service.events import text; print(os.environ.get('NUMBA_CACHE_DIR'))"
    )
    if shutil.which("setpriv") is None:
        pytest.skip("there is no `setpriv` here")
    done = subprocess.run(
        ["setpriv", "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search",
         "--reuid=65534", "--regid=65534", "--clear-groups",
         sys.executable, "-c", code],
        cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120,
        env={"HOME": "/nonexistent", "TMPDIR": "/tmp", "PYTHONPATH": str(CHECKOUT), "PATH": "/bin"},
    )  # fmt: skip
    if "setpriv:" in done.stderr:
        pytest.skip(f"this user may not become another: {done.stderr.strip()}")
    assert 0 == done.returncode, done.stderr
    assert "headwater-compiled-65534" in done.stdout
