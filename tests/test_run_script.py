"""./run: one script that sets up what is missing, says what it does, and costs nothing the second time."""

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = {
    *("linux", "linux-6.1", "linux-5.10", "linux-sid", "linux-agentless", "ipxe", "uboot"),
    *("winxp", "win10", "reactos", "test", "prove", "bench", "lint", "types", "nicproof"),
}
"""What the project promises; tox.ini may have more."""


def script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with spaces in its name."""
    folder = tmp_path / "a check out"
    folder.mkdir()
    for name in ("run", "tox.ini", "toxfile.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with what every Debian has, a python3 that only notes what it is called for, and our packages there."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("sh", "dirname", "awk", "grep", "cat", "cksum", "flock", "mkdir", "chmod", "env", "true"):
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    python = f"""
    echo "$*" >>'{tmp_path}/log'
    case "$*" in
    *'-m venv --clear '*) mkdir -p "$4/bin"; cat "$0" >"$4/bin/python"; chmod +x "$4/bin/python" ;;
    *sys.version\\)*) echo 3.11 ;;
    esac
    """
    script(folder / "python3", python)
    script(folder / "id", "echo 1000")
    for name in ("mmdebstrap", "newuidmap", "tar2sqfs"):
        script(folder / name, "exit 0")
    return folder


def run(checkout: Path, path: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "run", *arguments],
        cwd="/",
        env={**os.environ, "PATH": str(path)} if path else None,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def tox_ini() -> configparser.ConfigParser:
    ini = configparser.ConfigParser(interpolation=None)
    ini.read(ROOT / "tox.ini")
    return ini


def calls(tools: Path) -> list[str]:
    log = tools.parent / "log"
    text = log.read_text() if log.exists() else ""
    log.unlink(missing_ok=True)
    return [line for line in text.splitlines() if not line.startswith("-c ")]


@pytest.mark.parametrize("asked", [(), ("--help",), ("-h",)])
def test_without_arguments_it_lists_the_environments(checkout: Path, asked: tuple[str, ...]) -> None:
    shown = run(checkout, None, *asked)
    assert shown.returncode == 0
    listed = {line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ")}
    assert listed == {name.removeprefix("testenv:") for name in tox_ini().sections() if name.startswith("testenv:")}
    assert listed >= ENVIRONMENTS
    assert not (checkout / ".venv").exists()


def test_an_unknown_environment_names_the_known(checkout: Path) -> None:
    shown = run(checkout, None, "linx")
    assert shown.returncode == 2
    assert shown.stderr.startswith("run: no environment linx: one of linux linux-6.1 ")
    assert shown.stderr.count("\n") == 1


def test_arguments_reach_tox_unchanged_and_the_second_run_sets_nothing_up(checkout: Path, tools: Path) -> None:
    arguments = ("-k", "a b and 'c'", "--nic", "e1000e")
    first = run(checkout, tools, "linux", *arguments)
    assert first.returncode == 0, first.stderr
    done = calls(tools)
    assert done[0] == f"-m venv --clear {checkout}/.venv"
    assert done[1].startswith("-m pip install ")
    assert done[2] == f"-m tox run -q -c {checkout}/tox.ini --notest -e linux"
    last = f"-m tox run -q -c {checkout}/tox.ini -e linux -- -k a b and 'c' --nic e1000e"
    assert done[3:] == [last]
    second = run(checkout, tools, "linux", *arguments)
    assert calls(tools) == [last]
    assert second.stderr == ""


@pytest.mark.parametrize("changed", ["pyproject.toml", "tox.ini"])
def test_a_changed_project_is_set_up_again(checkout: Path, tools: Path, changed: str) -> None:
    run(checkout, tools, "lint")
    calls(tools)
    with (checkout / changed).open("a") as file:
        file.write("\n# more\n")
    run(checkout, tools, "lint")
    assert len(calls(tools)) == 4


def test_a_setup_that_failed_is_done_again(checkout: Path, tools: Path) -> None:
    python = (tools / "python3").read_text()
    script(tools / "python3", 'case "$*" in *"pip install"*) exit 1 ;; esac\n' + python)
    failed = run(checkout, tools, "lint")
    assert failed.returncode == 2
    assert "run: tox could not be installed" in failed.stderr
    script(tools / "python3", python)
    calls(tools)
    assert run(checkout, tools, "lint").returncode == 0
    assert len(calls(tools)) == 4


def test_the_command_runs_without_tox_in_the_callers_directory(checkout: Path, tools: Path) -> None:
    python = checkout / ".tox/nicproof/bin/python"
    python.parent.mkdir(parents=True)
    script(python, 'echo "$PWD|$PYTHONPATH|$*"; exit 7')
    shown = run(checkout, tools, "nicproof", "shell", "linux/e1000/intx")
    assert shown.stdout == f"/|{checkout}|-m harness.cli shell linux/e1000/intx\n"
    assert shown.returncode == 7


def test_missing_packages_are_named_with_the_command_for_root(checkout: Path, tools: Path) -> None:
    (tools / "newuidmap").unlink()
    (tools / "tar2sqfs").unlink()
    script(tools / "apt-get", "exit 99")
    script(tools / "sudo", "exit 1")
    shown = run(checkout, tools, "linux")
    assert shown.returncode == 2
    assert shown.stderr == (
        "run: this host lacks packages; as root, run: apt-get update && "
        "apt-get install -y --no-install-recommends uidmap squashfs-tools-ng\n"
    )
    assert calls(tools) == []


def test_lint_needs_no_packages_for_images(checkout: Path, tools: Path) -> None:
    (tools / "mmdebstrap").unlink()
    assert run(checkout, tools, "lint").returncode == 0


def test_the_projects_own_tests_need_windows_programs_and_no_other_job_does(checkout: Path, tools: Path) -> None:
    script(tools / "apt-get", "exit 99")
    script(tools / "sudo", "exit 1")
    assert run(checkout, tools, "test").stderr.rstrip().endswith("--no-install-recommends wine")
    assert run(checkout, tools, "prove").returncode == 0
    script(tools / "wine", "exit 0")
    assert run(checkout, tools, "test").returncode == 0


def test_the_status_of_a_job_is_handed_through(checkout: Path, tools: Path) -> None:
    python = (tools / "python3").read_text()
    script(tools / "python3", 'case "$*" in *"-e winxp --"*) exit 3 ;; esac\n' + python)
    assert run(checkout, tools, "winxp").returncode == 3


@pytest.mark.parametrize("root", [True, False])
def test_missing_packages_are_installed_as_root_or_by_sudo(checkout: Path, tools: Path, root: bool) -> None:
    (tools / "mmdebstrap").unlink()
    log = tools.parent / "apt"
    script(tools / "apt-get", f"echo \"$*\" >>'{log}'")
    if root:
        script(tools / "id", "echo 0")
    else:
        script(tools / "sudo", 'shift; exec "$@"')
    shown = run(checkout, tools, "linux")
    assert shown.returncode == 0, shown.stderr
    assert "run: installing mmdebstrap" in shown.stderr
    assert log.read_text().splitlines() == ["-qq update", "-qq install -y --no-install-recommends mmdebstrap"]


def test_python_without_venv_is_a_missing_package(checkout: Path, tools: Path) -> None:
    python = (tools / "python3").read_text()
    script(tools / "python3", 'case "$*" in *ensurepip*) exit 1 ;; esac\n' + python)
    script(tools / "apt-get", "exit 99")
    assert run(checkout, tools, "lint").stderr.rstrip().endswith("--no-install-recommends python3-venv")


def test_an_old_python_is_refused(checkout: Path, tools: Path) -> None:
    script(tools / "python3", 'case "$*" in *"3, 11"*) exit 1 ;; -V) echo "Python 3.9.2" ;; esac')
    shown = run(checkout, tools, "lint")
    assert (shown.returncode, shown.stderr) == (2, "run: python3 is Python 3.9.2, 3.11 or newer is needed\n")


def test_two_setups_at_the_same_time_are_one(checkout: Path, tools: Path) -> None:
    runs = [
        subprocess.Popen(
            [checkout / "run", "lint"], env={**os.environ, "PATH": str(tools)}, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60)[1] for process in runs]
    assert [process.returncode for process in runs] == [0, 0]
    assert sorted(bool(text) for text in said) == [False, True]
    assert len([call for call in calls(tools) if "venv --clear" in call]) == 1


def test_all_environments_share_one_virtual_environment() -> None:
    ini = tox_ini()
    assert ini["testenv"]["env_dir"] == "{work_dir}/nicproof"
    assert [name for name in ini.sections() if name != "testenv" and ini.has_option(name, "env_dir")] == []


def test_tox_keeps_the_shared_environment_when_its_name_changes(checkout: Path) -> None:
    """The real tox, and no package to install."""
    text = (checkout / "tox.ini").read_text().replace("package = deps-only", "skip_install = true")
    text = text.replace("extras = dev\n", "").replace("ruff check .", 'python -c ""').replace("mypy .", 'python -c ""')
    (checkout / "tox.ini").write_text(text)
    made = []
    for name in ("lint", "types", "lint"):
        subprocess.run(
            [sys.executable, "-m", "tox", "run", "-c", checkout / "tox.ini", "-e", name],
            cwd=checkout,
            # An outer tox says where its own environments are.
            env={name: value for name, value in os.environ.items() if not name.startswith("TOX_")},
            capture_output=True,
            timeout=120,
            check=True,
        )
        made.append((checkout / ".tox/nicproof/pyvenv.cfg").stat().st_ino)
    assert len(set(made)) == 1


def test_ci_ends_with_pytests_closing_line_and_its_status(tmp_path: Path) -> None:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci")
    script(tmp_path / "run", "echo '===== 1 failed, 3 passed in 0.12s ====='; echo '  test: FAIL code 1'; exit 3")
    ran = subprocess.run(["bash", tmp_path / ".ci/run"], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 3
    assert ran.stdout.splitlines()[-1] == "===== 1 failed, 3 passed in 0.12s ====="
