"""`--help`: values are called what the user types. Typer would add Python's types, such as <bool> and <list[str]>."""

from typing import Any

from typer.core import TyperArgument, TyperGroup, TyperOption


class Group(TyperGroup):
    """Commands with such a help, and their own."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options."""
        return [_without_type(parameter) for parameter in super().get_params(ctx)]

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command that is called so; None: there is none."""
        command = super().get_command(ctx, name)
        for parameter in command.get_params(ctx) if command is not None else ():
            _without_type(parameter)
        return command


class _Argument(TyperArgument):
    """Its name says all."""

    def display_type_rich(self, ctx: Any) -> str:
        return ""


def _without_type(parameter: Any) -> Any:
    if isinstance(parameter, TyperArgument):
        parameter.__class__ = _Argument
    elif isinstance(parameter, TyperOption) and parameter.is_flag:
        parameter.metavar = ""
    return parameter
