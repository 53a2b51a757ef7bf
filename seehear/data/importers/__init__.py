"""Standard data sets into libraries, by their official files."""

from seehear.data.importers.base import Importer, ImportOptions
from seehear.data.importers.registry import IMPORTERS, importer
from seehear.data.importers.run import ImportReport, import_dataset

__all__ = ["IMPORTERS", "ImportOptions", "ImportReport", "Importer", "import_dataset", "importer"]
