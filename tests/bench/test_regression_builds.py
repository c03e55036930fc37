"""benchmarks/regression builds the trees that it says it does, and leaves nothing behind."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks" / "regression"))
regression = importlib.import_module("compare")
builds = importlib.import_module("builds")


@pytest.fixture
def repository(tmp_path):
    """A commit that can't be built; since then a file is changed, one is new, one is ignored."""
    root = tmp_path / "repository"
    root.mkdir()
    (root / "setup.py").write_text("raise SystemExit('the compiler is on fire')\n")
    (root / ".gitignore").write_text("*.so\n")

    def run_git(*arguments):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
        subprocess.run(["git", "-C", root, *identity, *arguments], check=True, capture_output=True)

    run_git("init")
    run_git("add", ".")
    run_git("commit", "-m", "first")
    (root / ".gitignore").write_text("*.so\n# changed\n")
    (root / "package").mkdir()
    (root / "package" / "new.py").write_text("")
    (root / "package" / "stale.so").write_text("")
    return root


def worktrees(root):
    return len(builds.git(root, "worktree", "list").splitlines())


def test_failed_build_is_told_and_leaves_nothing(repository, tmp_path, monkeypatch, capsys):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(regression, "ROOT", repository)
    monkeypatch.setattr(regression.tempfile, "tempdir", str(scratch))
    assert regression.main([]) == 2
    first, *tail = capsys.readouterr().err.splitlines()
    assert first == "regression: error: the build of the base tree failed:"
    assert "the compiler is on fire" in "\n".join(tail)
    assert worktrees(repository) == 1
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_worktree_is_removed_after_an_error(error, repository, tmp_path):
    folder = tmp_path / "tree"

    def fail_within():
        with builds.worktree(repository, "HEAD", folder):
            assert (folder / "setup.py").exists()
            assert worktrees(repository) == 2
            (folder / "object.so").write_text("left by the build")
            raise error

    with pytest.raises(error):
        fail_within()
    assert worktrees(repository) == 1
    assert not folder.exists()


def test_working_tree_is_copied_as_it_stands(repository, tmp_path):
    (repository / "setup.py").unlink()
    copy = builds.copy_working_tree(repository, tmp_path / "copy")
    files = {str(path.relative_to(copy)) for path in copy.rglob("*") if path.is_file()}
    assert files == {".gitignore", "package/new.py"}
    assert "changed" in (copy / ".gitignore").read_text()


def test_folder_that_is_no_checkout(repository, tmp_path):
    with pytest.raises(ValueError, match="must be a git checkout"):
        builds.commit_id(tmp_path, "HEAD")
    with pytest.raises(ValueError, match="must be a git checkout"):
        builds.commit_id(repository / "package", "HEAD")
    assert len(builds.commit_id(repository, "HEAD")) == 40


@pytest.mark.parametrize("name", ["no-such-commit", "HEAD:setup.py"])
def test_unknown_commit_is_one_line(name, repository, monkeypatch, capsys):
    monkeypatch.setattr(regression, "ROOT", repository)
    assert regression.main([name]) == 2
    line = f"error: COMMIT must name a commit of {repository}, got {name!r}\n"
    assert capsys.readouterr().err.endswith(line)
