"""Errors of a file that as a whole is no import; each code belongs to errors.py's family."""

from __future__ import annotations

from product_search.errors import ImportFileError


class ImportTypeUnknown(ImportFileError):
    """The file's name does not end as one that can be imported."""

    code = "import_type_unknown"
    status = 415
    example = "a.xlsx：只支持 .csv、.jsonl、.zip 文件"


class ImportEncodingUnknown(ImportFileError):
    """The table is neither UTF-8 nor GB18030."""

    code = "import_encoding_unknown"
    status = 422
    example = "a.csv：既不是 UTF-8 也不是 GB18030 编码"


class ImportHeaderInvalid(ImportFileError):
    """The CSV's first row names unknown columns, one twice, or lacks a required one."""

    code = "import_header_invalid"
    status = 422
    example = "表头有误：缺少列 'sku'"


class ImportTooManyRows(ImportFileError):
    """The table has more rows, empty lines among them, than one import takes."""

    code = "import_too_many_rows"
    status = 413
    example = "a.csv：行数过多，最多 2,000,000 行（空行也算），请分几次导入"


class ZipUnreadable(ImportFileError):
    """The ZIP is damaged, or packed by a method that is not read."""

    code = "zip_unreadable"
    status = 422
    example = "ZIP 已损坏或不完整"


class ZipEncrypted(ImportFileError):
    """The ZIP, or a file in it, has a password."""

    code = "zip_encrypted"
    status = 422
    example = "ZIP 有密码：请上传没有密码的"


class ZipTooLarge(ImportFileError):
    """The ZIP has too many files, or they are too large once unpacked."""

    code = "zip_too_large"
    status = 413
    example = "ZIP 解压后过大"


class ZipUnsafeName(ImportFileError):
    """A file in the ZIP has a name that leads out of it, or that another file has too."""

    code = "zip_unsafe_name"
    status = 422
    example = "ZIP 内的文件名 '../a.png' 指向 ZIP 之外"


class ZipTableCount(ImportFileError):
    """The ZIP has no table (.csv or .jsonl), or more than one."""

    code = "zip_table_count"
    status = 422
    example = "ZIP 内应有且只有一个商品表（.csv 或 .jsonl），现有 0 个"
