"""What git says, where there is git; None where it has no answer."""

import subprocess
from pathlib import Path


def git(root: Path, *arguments: str) -> str | None:
    """The output of a git command. None: no repository, no commit, no git, or git says no."""
    try:
        answer = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()


def commit_and_dirty(root: Path) -> tuple[str | None, bool]:
    """The commit that is checked out, and whether tracked files differ from it."""
    return git(root, "rev-parse", "HEAD"), bool(git(root, "status", "--porcelain", "--untracked-files=no"))
