"""Two trees of this repository, built alike: a commit and the working tree."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LINES_OF_A_FAILED_BUILD = 25


def git(root: Path, *arguments: str) -> str:
    """What a git command prints. ValueError, with git's last line, if it fails."""
    command = ["git", "-C", str(root), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"git {arguments[0]} failed: {(done.stderr.splitlines() or ['?'])[-1]}")
    return done.stdout.strip()


def commit_id(root: Path, commit: str) -> str:
    """The full id of `commit`. ValueError if there is none, or if root is not git's."""
    try:
        top = git(root, "rev-parse", "--show-toplevel")
    except (ValueError, FileNotFoundError) as error:
        raise ValueError(f"{root} must be a git checkout: {error}") from None
    if Path(top).resolve() != root.resolve():
        raise ValueError(f"{root} must be a git checkout, it is a folder in that of {top}")
    try:
        return git(root, "rev-parse", "--verify", "--quiet", commit + "^{commit}")
    except ValueError:
        raise ValueError(f"COMMIT must name a commit of {root}, got {commit!r}") from None


@contextlib.contextmanager
def worktree(root: Path, commit: str, folder: Path) -> Iterator[Path]:
    """The commit's files in `folder`, a git worktree that is removed however the block ends."""
    try:
        git(root, "worktree", "add", "--detach", "--quiet", str(folder), commit)
        yield folder
    finally:
        with contextlib.suppress(ValueError):  # if it failed before there was one
            git(root, "worktree", "remove", "--force", "--force", str(folder))  # even a locked one


def copy_working_tree(root: Path, folder: Path) -> Path:
    """The files as they stand, tracked or not, but not ignored ones."""
    listed = git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (root / name).is_file():  # not deleted, not a submodule
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    return folder


def build_options() -> list[str]:
    """`--no-build-isolation` where all that a build needs is installed: it works offline."""
    try:
        recent = int(importlib.metadata.version("setuptools").partition(".")[0]) >= 77
    except importlib.metadata.PackageNotFoundError:
        recent = False
    present = recent and importlib.util.find_spec("pybind11") is not None
    return ["--no-build-isolation"] if present else []


def kill(process: subprocess.Popen[str]) -> None:
    """End a process that leads a session, and its children."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def build(trees: list[Path], folders: list[Path]) -> None:
    """Install each tree into its folder, all at once. RuntimeError, with its end, if one fails."""
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--disable-pip-version-check"]
    logs = [folder.with_suffix(".log") for folder in folders]
    running: list[subprocess.Popen[str]] = []
    try:
        for tree, folder, log in zip(trees, folders, logs, strict=True):
            command = [*pip, *build_options(), "--target", str(folder), str(tree.resolve())]
            with log.open("w") as file:
                process = subprocess.Popen(
                    command, cwd=tree, stdout=file, stderr=subprocess.STDOUT, text=True,
                    stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            running.append(process)
        for process, tree, log in zip(running, trees, logs, strict=True):
            if process.wait():
                tail = log.read_text(errors="replace").splitlines()[-LINES_OF_A_FAILED_BUILD:]
                raise RuntimeError("\n".join([f"the build of the {tree.name} tree failed:", *tail]))
    finally:
        for process in running:
            if process.poll() is None:
                kill(process)
