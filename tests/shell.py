"""The command `fastlstm` in this process."""

from fastlstm.cli import main


def run_command(capsys, *arguments: object) -> tuple[int, str, str]:
    """As a shell would: exit code, standard output, standard error."""
    capsys.readouterr()
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as leaving:  # argparse
        code = int(leaving.code or 0)
    shown = capsys.readouterr()
    return code, shown.out, shown.err
