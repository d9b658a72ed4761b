"""Our own small FHIR R4 and the mapping of readings and figures to it. Pure: no I/O, no clock."""
