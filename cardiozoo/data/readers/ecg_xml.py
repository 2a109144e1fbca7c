"""XML from electrocardiographs, parsed so that a file can neither reach outside itself nor grow without bound.

A document type declaration is passed over, its external subset is never fetched, and any entity declaration is refused.
Exports whose declared encoding is not the one they are written in are read as UTF-8, else as Latin-1: names of patients
may suffer, tags and samples are ASCII. Where a comment or a diagnosis holds an ampersand or a control character, which
XML does not allow, the character is mended, and that is noted.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from cardiozoo.errors import RecordError

__all__ = ["child_text", "parse_xml"]

_LARGEST = 256 << 20  # bytes; ten seconds of twelve leads have about 0.5 million
_DEEPEST = 200
_MENDED = "XML mended: characters that it does not allow"
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_AMPERSAND = re.compile(rb"&(?!#\d{1,7};|#x[0-9a-fA-F]{1,6};|[A-Za-z]\w{0,30};)")


class _Forbidden(Exception):
    """The document declares an entity, or nests without end."""


def parse_xml(path: Path) -> tuple[Element, tuple[str, ...]]:
    """The root element, tags without their namespace prefixes; and notes of what had to be mended.

    Raises:
        RecordError: The file is absent, too large, not well-formed, or declares entities.
    """
    content = _content(path)
    problem = ""
    for encoding in (None, *(["UTF-16"] if content[:2] in (b"\xff\xfe", b"\xfe\xff") else []), "UTF-8", "ISO-8859-1"):
        try:
            return _parse(content, encoding), ()
        except _Forbidden as error:
            _refuse(f"{path} {error}.", "XML with entities or without end")
        except (expat.ExpatError, LookupError, ValueError) as error:
            problem = problem or str(error)
    try:
        return _parse(_mended(content), "UTF-8"), (_MENDED,)
    except _Forbidden as error:
        _refuse(f"{path} {error}.", "XML with entities or without end")
    except (expat.ExpatError, ValueError):
        pass
    _refuse(f"{path} is not well-formed XML: {problem}.", "XML not well-formed")


def _mended(content: bytes) -> bytes:
    """The document in UTF-8, without control characters and with ampersands as XML wants them."""
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    try:
        text = content.decode("utf-16" if wide else "utf-8")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    return _AMPERSAND.sub(b"&amp;", _CONTROL.sub(b"", text.encode()))


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
