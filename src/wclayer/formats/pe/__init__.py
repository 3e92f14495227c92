"""PE files (programs, DLLs, drivers): headers, sections, resources, versions, signatures, .NET."""
