"""Finding DICOM series, reading their headers, and converting each to a volume."""
