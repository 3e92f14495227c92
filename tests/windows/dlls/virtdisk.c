/* A virtdisk.dll that checks how a disk is opened and attached. It is loaded in the place of Wine's.
 * The structures are those of the compiler's own virtdisk.h. */

#include <windows.h>
#include <virtdisk.h>
#include <stdint.h>
#include <stddef.h>
#include <stdio.h>

#define EXPORT __declspec(dllexport)

_Static_assert(sizeof(VIRTUAL_STORAGE_TYPE) == 20, "VIRTUAL_STORAGE_TYPE");
_Static_assert(offsetof(OPEN_VIRTUAL_DISK_PARAMETERS, Version2.ResiliencyGuid) == 12, "OPEN_VIRTUAL_DISK_PARAMETERS");

static DWORD open_answer, attach_answer;
static wchar_t opened[1024];
static LONG attached;

EXPORT void WINAPI FakeDisk(DWORD open, DWORD attach) {
    open_answer = open;
    attach_answer = attach;
    opened[0] = 0;
    attached = 0;
}
EXPORT const wchar_t *WINAPI FakeOpened(void) { return opened; }
EXPORT LONG WINAPI FakeAttached(void) { return attached; }

static int all_zero(const void *at, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (((const BYTE *)at)[i]) return 0;
    return 1;
}

EXPORT DWORD WINAPI OpenVirtualDisk(PVIRTUAL_STORAGE_TYPE type, PCWSTR path, VIRTUAL_DISK_ACCESS_MASK access,
                                    OPEN_VIRTUAL_DISK_FLAG flags, POPEN_VIRTUAL_DISK_PARAMETERS parameters,
                                    PHANDLE handle) {
    if (open_answer) return open_answer;
    if (!type || !all_zero(type, sizeof *type) || access || flags || !parameters || parameters->Version != OPEN_VIRTUAL_DISK_VERSION_2 ||
        !all_zero(&parameters->Version2, sizeof parameters->Version2) || (uintptr_t)handle % sizeof(HANDLE))
        return ERROR_INVALID_PARAMETER;
    wcsncpy(opened, path, 1023);
    HANDLE made = CreateFileW(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL, OPEN_EXISTING, 0, NULL);
    if (made == INVALID_HANDLE_VALUE) return GetLastError();
    *handle = made;
    return ERROR_SUCCESS;
}

EXPORT DWORD WINAPI AttachVirtualDisk(HANDLE disk, PSECURITY_DESCRIPTOR security, ATTACH_VIRTUAL_DISK_FLAG flags,
                                      ULONG provider, PATTACH_VIRTUAL_DISK_PARAMETERS parameters,
                                      LPOVERLAPPED overlapped) {
    BY_HANDLE_FILE_INFORMATION info;
    if (attach_answer) return attach_answer;
    if (!GetFileInformationByHandle(disk, &info)) return ERROR_INVALID_HANDLE;
    if (security || flags != 0x20 || provider || parameters || overlapped) return ERROR_INVALID_PARAMETER;
    attached++;
    return ERROR_SUCCESS;
}
