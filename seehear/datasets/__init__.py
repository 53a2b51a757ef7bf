"""Standard data sets into libraries, by their official files."""

from seehear.datasets.base import Importer, ImportOptions
from seehear.datasets.registry import IMPORTERS, importer
from seehear.datasets.run import ImportReport, import_dataset

__all__ = ["IMPORTERS", "ImportOptions", "ImportReport", "Importer", "import_dataset", "importer"]
