"""Members of zip files (PyTorch's and NumPy's), found and checked without unpacking anything to disk.

Python's `zipfile` reads the directory, from which it makes 15 times as much in memory: it is given no more than 2 MiB
of it. A member that is stored as it is stays in the file; a compressed one is inflated piece by piece into as many
bytes as the directory declares, counted before.

Not here: the files inside.
"""

import struct
import zipfile
import zlib
from dataclasses import dataclass

from faces.weights.weights_file import Buffer, WeightsFile

_DIRECTORY_LIMIT = 2 * 2**20
_PIECE = 2**16
_ENCRYPTED = 1
_LOCAL_HEADER = 30  # bytes of it before the name


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes `at` to `end` of `data`: of the file itself, or of what was inflated."""

    data: Buffer
    at: int
    end: int


class _Directory:
    """The file as `zipfile` sees it, which reads the whole directory at once."""

    def __init__(self, file: WeightsFile):
        self.file, self.at = file, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self.at = offset + (0, self.at, len(self.file.data))[whence]
        if self.at < 0:
            raise OSError("before the file")
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, size: int = -1) -> bytes:
        end = len(self.file.data) if size < 0 else min(self.at + size, len(self.file.data))
        if end - self.at > _DIRECTORY_LIMIT:
            raise self.file.error(f"a directory of more than {_DIRECTORY_LIMIT:,} bytes, the limit")
        taken = self.file.data[self.at : end]
        self.at = max(self.at, end)
        return taken


def members(file: WeightsFile) -> dict[str, zipfile.ZipInfo]:
    """The entries of a zip file by name.

    Raises:
        WeightsError: the directory is cut, damaged, too long, or has a name twice.
    """
    try:
        entries = zipfile.ZipFile(_Directory(file)).infolist()  # type: ignore[arg-type]
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error, OverflowError):
        raise file.error("a zip file without its directory; it was cut or damaged: copy it again") from None
    by_name = {entry.filename: entry for entry in entries}
    if len(by_name) != len(entries):
        raise file.damaged("two members of the zip file have one name")
    return by_name


def content(file: WeightsFile, entry: zipfile.ZipInfo) -> Content:
    """The bytes of a member, checked against its checksum.

    Raises:
        WeightsError: encrypted, compressed by another method than deflate, damaged, or longer than may be taken.
    """
    header = file.data[entry.header_offset : entry.header_offset + _LOCAL_HEADER] if entry.header_offset >= 0 else b""
    if len(header) < _LOCAL_HEADER or header[:4] != b"PK\x03\x04":
        raise file.damaged("a member of the zip file is not where the directory says")
    at = entry.header_offset + _LOCAL_HEADER + sum(struct.unpack_from("<HH", header, 26))
    end = at + entry.compress_size
    if entry.flag_bits & _ENCRYPTED:
        raise file.error("a member of the zip file is encrypted; save it without a password")
    if end > len(file.data):
        raise file.damaged("a member of the zip file goes beyond the file's end")
    match entry.compress_type:
        case zipfile.ZIP_STORED if entry.compress_size == entry.file_size:
            found = Content(file.data, at, end)
        case zipfile.ZIP_DEFLATED:
            found = Content(_inflated(file, at, end, entry.file_size), 0, entry.file_size)
        case _:
            raise file.error("a member of the zip file is packed by a method that is not read; save it again")
    with memoryview(found.data) as whole, whole[found.at : found.end] as part:
        checksum = zlib.crc32(part)
    if checksum != entry.CRC:
        raise file.damaged("a member of the zip file has another checksum than the directory says")
    return found


def _inflated(file: WeightsFile, at: int, end: int, size: int) -> bytearray:
    file.spend(size)
    unpacked = bytearray(size)
    filled = 0
    machine = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not machine.eof:
            source = machine.unconsumed_tail
            if not source:
                source = file.data[at : min(at + _PIECE, end)]
                at += len(source)
            piece = machine.decompress(source, _PIECE)
            if filled + len(piece) > size or not (source or piece):
                raise file.damaged("a member of the zip file has another length than the directory says")
            unpacked[filled : filled + len(piece)] = piece
            filled += len(piece)
    except zlib.error:
        raise file.damaged("a member of the zip file does not unpack") from None
    if filled != size:
        raise file.damaged("a member of the zip file has another length than the directory says")
    return unpacked
