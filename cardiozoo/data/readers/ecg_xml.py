"""XML from electrocardiographs, parsed so that a file can neither reach outside itself nor grow without bound.

A document type declaration is passed over, its external subset is never fetched, and any entity declaration is refused.
Exports whose declared encoding is not the one they are written in are read as UTF-8, else as Latin-1: names of patients
may suffer, tags and samples are ASCII.
"""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from cardiozoo.errors import RecordError

__all__ = ["child_text", "parse_xml"]

_LARGEST = 256 << 20  # bytes; ten seconds of twelve leads have about 0.5 million
_DEEPEST = 200


class _Forbidden(Exception):
    """The document declares an entity, or nests without end."""


def parse_xml(path: Path) -> Element:
    """The root element; tags without their namespace prefixes.

    Raises:
        RecordError: The file is absent, too large, not well-formed, or declares entities.
    """
    content = _content(path)
    problem = ""
    for encoding in (None, *(["UTF-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else []), "UTF-8", "ISO-8859-1"):
        try:
            return _parse(content, encoding)
        except _Forbidden as error:
            _refuse(f"{path} {error}.", "XML with entities or without end")
        except (expat.ExpatError, LookupError, ValueError) as error:
            problem = problem or str(error)
    _refuse(f"{path} is not well-formed XML: {problem}.", "XML not well-formed")


def child_text(element: Element, *names: str) -> str:
    """Text below a path of child elements, stripped; empty when one of them is absent."""
    found = element.find("/".join(names))
    return (found.text or "").strip() if found is not None else ""


def _refuse(came: str, reason: str) -> NoReturn:
    accepted = "Accepted: GE MUSE XML (RestingECG) or CardioSoft XML (CardiologyXML), whole and without entities."
    raise RecordError(came, accepted, "Export the record again, or leave it out.", reason=reason)


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except FileNotFoundError:
        _refuse(f"{path} does not exist.", "file missing")
    except OSError as error:
        _refuse(f"{path} cannot be read: {error.strerror}.", "file unreadable")
    if len(content) > _LARGEST:
        _refuse(f"{path} is larger than {_LARGEST >> 20} MiB.", "file too large")
    if not content.strip(b"\x00 \t\r\n"):
        _refuse(f"{path} is empty.", "file empty")
    return content


def _parse(content: bytes, encoding: str | None) -> Element:
    builder, depth = TreeBuilder(), 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST:
            raise _Forbidden(f"nests elements more than {_DEEPEST} deep")
        builder.start(tag.rpartition(":")[2], attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag.rpartition(":")[2])

    def forbid(*_: object) -> NoReturn:
        raise _Forbidden("declares an entity")

    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.EntityDeclHandler = parser.UnparsedEntityDeclHandler = parser.ExternalEntityRefHandler = forbid
    parser.Parse(content, True)
    return builder.close()
