/* The calls of kernel32 that Wine does not have, or does not keep what they are given: BackupRead, BackupWrite,
 * basic information of files, and the two controls of a volume.
 *
 * Backup streams and basic information are kept in memory by the file's id, so that what was restored is what is backed
 * up again; the contents of a file's data stream also go into the file. Written from Microsoft's documentation of the
 * functions and of WIN32_STREAM_ID, apart from the package under test. */

#define _KERNEL32_ /* its functions are defined here, not imported */
#include <windows.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __declspec(dllexport)
#define BUCKETS 4096

typedef struct RECORD {
    UINT64 id;
    BYTE *stream;
    size_t size, room;
    int has_info;
    FILE_BASIC_INFO info;
    struct RECORD *next;
} RECORD;

typedef struct {
    UINT32 magic;
    int writing;
    RECORD *record;
    size_t position;
    /* Of a stream that is being written: its header as far as it has come, and where its data goes. */
    BYTE header[20 + 1024 + 8];
    UINT32 header_size, needed;
    UINT64 left;
    int is_data, in_main;
    /* Of a file that was never restored: its header and its data are made up. */
    UINT64 plain_size;
} CONTEXT_OF_BACKUP;

#define MAGIC 0x4b434142

static CRITICAL_SECTION lock;
static RECORD *records[BUCKETS];
static volatile LONG live_contexts, faults;
static DWORD read_answer, write_answer;
static UINT64 partition_size, volume_bytes, extended_sectors;
static DWORD control_answer;

static UINT64 id_of(HANDLE file) {
    BY_HANDLE_FILE_INFORMATION info;
    if (!GetFileInformationByHandle(file, &info)) return 0;
    return ((UINT64)info.nFileIndexHigh << 32 | info.nFileIndexLow) ^ ((UINT64)info.dwVolumeSerialNumber << 40);
}

static RECORD *record_of(HANDLE file, int make) {
    UINT64 id = id_of(file);
    if (!id) return NULL;
    EnterCriticalSection(&lock);
    RECORD **at = &records[id % BUCKETS];
    while (*at && (*at)->id != id) at = &(*at)->next;
    if (!*at && make) {
        *at = calloc(1, sizeof(RECORD));
        (*at)->id = id;
    }
    RECORD *found = *at;
    LeaveCriticalSection(&lock);
    return found;
}

EXPORT void WINAPI FakeForget(void) {
    EnterCriticalSection(&lock);
    for (int i = 0; i < BUCKETS; i++)
        while (records[i]) {
            RECORD *gone = records[i];
            records[i] = gone->next;
            free(gone->stream);
            free(gone);
        }
    read_answer = write_answer = control_answer = 0;
    LeaveCriticalSection(&lock);
}
EXPORT LONG WINAPI FakeLiveBackups(void) { return live_contexts; }
EXPORT LONG WINAPI FakeFaults(void) { return faults; }
EXPORT void WINAPI FakeBackupAnswers(DWORD read, DWORD write) { read_answer = read, write_answer = write; }
EXPORT void WINAPI FakeVolume(UINT64 partition, UINT64 volume, DWORD answer) {
    partition_size = partition;
    volume_bytes = volume;
    control_answer = answer;
    extended_sectors = 0;
}
EXPORT UINT64 WINAPI FakeExtended(void) { return extended_sectors; }

/* Has a file's backup stream be these bytes. */
EXPORT void WINAPI FakeStream(HANDLE file, const BYTE *data, UINT32 size) {
    RECORD *record = record_of(file, 1);
    free(record->stream);
    record->stream = malloc(size ? size : 1);
    memcpy(record->stream, data, size);
    record->size = record->room = size;
}

static BOOL fault(DWORD code) {
    InterlockedIncrement(&faults);
    SetLastError(code);
    return FALSE;
}

static CONTEXT_OF_BACKUP *context_of(HANDLE file, void **context, int writing) {
    CONTEXT_OF_BACKUP *here = *context;
    if (here) return IsBadReadPtr(here, sizeof *here) || here->magic != MAGIC || here->writing != writing ? NULL : here;
    here = calloc(1, sizeof *here);
    here->magic = MAGIC;
    here->writing = writing;
    here->needed = 20;
    here->record = record_of(file, writing);
    if (writing && here->record) here->record->size = 0;
    LARGE_INTEGER size = {0};
    BY_HANDLE_FILE_INFORMATION info;
    if (GetFileInformationByHandle(file, &info) && !(info.dwFileAttributes & FILE_ATTRIBUTE_DIRECTORY))
        GetFileSizeEx(file, &size), here->plain_size = (UINT64)size.QuadPart;
    InterlockedIncrement(&live_contexts);
    *context = here;
    return here;
}

static BOOL abort_context(void **context, int writing) {
    CONTEXT_OF_BACKUP *here = *context;
    if (!here || here->magic != MAGIC || here->writing != writing) return fault(ERROR_INVALID_PARAMETER);
    here->magic = 0;
    free(here);
    *context = NULL;
    InterlockedDecrement(&live_contexts);
    return TRUE;
}

static BOOL check(HANDLE file, void *buffer, DWORD size, DWORD *done, BOOL abort, BOOL security, void **context) {
    if ((security != TRUE && security != FALSE) || (abort != TRUE && abort != FALSE)) return FALSE;
    if (!context || (uintptr_t)context % sizeof(void *) || !id_of(file)) return FALSE;
    return abort || (done && !IsBadWritePtr(done, 4) && !IsBadReadPtr(buffer, size));
}

EXPORT BOOL WINAPI BackupRead(HANDLE file, BYTE *buffer, DWORD size, DWORD *done, BOOL abort, BOOL security,
                              void **context) {
    if (!check(file, buffer, size, done, abort, security, context)) return fault(ERROR_INVALID_PARAMETER);
    if (abort) return abort_context(context, 0);
    if (read_answer) return SetLastError(read_answer), FALSE;
    CONTEXT_OF_BACKUP *here = context_of(file, context, 0);
    if (!here) return fault(ERROR_INVALID_PARAMETER);
    *done = 0;
    /* Never more than 4000 at once: a caller must go on asking. */
    if (size > 4000) size = 4000;
    if (here->record && here->record->size) {
        size_t left = here->record->size - here->position;
        if (size > left) size = (DWORD)left;
        memcpy(buffer, here->record->stream + here->position, size);
        here->position += size;
        *done = size;
        return TRUE;
    }
    if (!here->plain_size) return TRUE;
    if (here->position < 20) {
        BYTE header[20] = {1};
        memcpy(header + 8, &here->plain_size, 8);
        if (size > 20 - here->position) size = (DWORD)(20 - here->position);
        memcpy(buffer, header + here->position, size);
        here->position += size;
        *done = size;
        return TRUE;
    }
    OVERLAPPED at = {0};
    UINT64 offset = here->position - 20;
    at.Offset = (DWORD)offset;
    at.OffsetHigh = (DWORD)(offset >> 32);
    if (!ReadFile(file, buffer, size, done, &at) && GetLastError() != ERROR_HANDLE_EOF) return FALSE;
    here->position += *done;
    return TRUE;
}

static BOOL take(HANDLE file, CONTEXT_OF_BACKUP *here, const BYTE *data, DWORD size) {
    while (size) {
        if (here->left) {
            DWORD part = size < here->left ? size : (DWORD)here->left, written = part;
            if (here->is_data && (!WriteFile(file, data, part, &written, NULL) || written != part)) return FALSE;
            here->left -= part;
            data += part;
            size -= part;
            continue;
        }
        DWORD part = here->needed - here->header_size;
        if (part > size) part = size;
        memcpy(here->header + here->header_size, data, part);
        here->header_size += part;
        data += part;
        size -= part;
        if (here->header_size < here->needed) continue;
        UINT32 kind, name_size;
        UINT64 length;
        memcpy(&kind, here->header, 4);
        memcpy(&length, here->header + 8, 8);
        memcpy(&name_size, here->header + 16, 4);
        if (kind < 1 || kind > 10 || name_size > 1024) return SetLastError(ERROR_INVALID_DATA), FALSE;
        UINT32 whole = 20 + name_size + (kind == 9 ? 8 : 0);
        if (here->needed < whole) {
            here->needed = whole;
            continue;
        }
        here->left = length;
        /* Sparse blocks belong to the stream before them. */
        if (kind != 9) here->in_main = kind == 1;
        here->is_data = here->in_main && (kind == 1 || kind == 9);
        if (kind == 9) {
            LARGE_INTEGER offset;
            memcpy(&offset, here->header + 20 + name_size, 8);
            here->left -= 8;
            if (here->in_main && !SetFilePointerEx(file, offset, NULL, FILE_BEGIN)) return FALSE;
            if (here->in_main && !here->left && !SetEndOfFile(file)) return FALSE;
        }
        here->header_size = 0;
        here->needed = 20;
    }
    return TRUE;
}

EXPORT BOOL WINAPI BackupWrite(HANDLE file, BYTE *buffer, DWORD size, DWORD *done, BOOL abort, BOOL security,
                               void **context) {
    if (!check(file, buffer, size, done, abort, security, context)) return fault(ERROR_INVALID_PARAMETER);
    if (abort) return abort_context(context, 1);
    if (write_answer) return SetLastError(write_answer), FALSE;
    CONTEXT_OF_BACKUP *here = context_of(file, context, 1);
    if (!here || !here->record) return fault(ERROR_INVALID_PARAMETER);
    RECORD *record = here->record;
    if (record->size + size > record->room) {
        record->room = (record->size + size) * 2;
        record->stream = realloc(record->stream, record->room);
    }
    memcpy(record->stream + record->size, buffer, size);
    record->size += size;
    if (!take(file, here, buffer, size)) return FALSE;
    *done = size;
    return TRUE;
}

EXPORT BOOL WINAPI GetFileInformationByHandleEx(HANDLE file, FILE_INFO_BY_HANDLE_CLASS kind, LPVOID into, DWORD size) {
    HMODULE kernel = GetModuleHandleW(L"kernel32");
    BOOL(WINAPI * real)(HANDLE, int, void *, DWORD) = (void *)GetProcAddress(kernel, "GetFileInformationByHandleEx");
    if ((kind == FileBasicInfo && size != sizeof(FILE_BASIC_INFO)) ||
        (kind == FileStandardInfo && size != sizeof(FILE_STANDARD_INFO)) || (kind == FileIdInfo && size != 24))
        return fault(ERROR_BAD_LENGTH);
    if (!real(file, kind, into, size)) return FALSE;
    RECORD *record = record_of(file, 0);
    if (kind == FileBasicInfo && record && record->has_info) {
        FILE_BASIC_INFO *info = into;
        DWORD directory = info->FileAttributes & FILE_ATTRIBUTE_DIRECTORY;
        if (record->info.CreationTime.QuadPart) info->CreationTime = record->info.CreationTime;
        if (record->info.LastAccessTime.QuadPart) info->LastAccessTime = record->info.LastAccessTime;
        if (record->info.LastWriteTime.QuadPart) info->LastWriteTime = record->info.LastWriteTime;
        if (record->info.ChangeTime.QuadPart) info->ChangeTime = record->info.ChangeTime;
        if (record->info.FileAttributes) info->FileAttributes = record->info.FileAttributes | directory;
    }
    return TRUE;
}

EXPORT BOOL WINAPI SetFileInformationByHandle(HANDLE file, FILE_INFO_BY_HANDLE_CLASS kind, LPVOID given, DWORD size) {
    const FILE_BASIC_INFO *info = given;
    if (kind != FileBasicInfo || size != sizeof *info || (uintptr_t)info % 8 || IsBadReadPtr(info, size))
        return fault(ERROR_INVALID_PARAMETER);
    RECORD *record = record_of(file, 1);
    if (!record) return fault(ERROR_INVALID_HANDLE);
    record->has_info = 1;
    record->info = *info;
    return TRUE;
}

EXPORT BOOL WINAPI DeviceIoControl(HANDLE device, DWORD code, void *in, DWORD in_size, void *out, DWORD out_size,
                                   DWORD *done, OVERLAPPED *overlapped) {
    if (control_answer) return SetLastError(control_answer), FALSE;
    if (!id_of(device) || !done || overlapped) return fault(ERROR_INVALID_PARAMETER);
    if (code == 0x0007405C && !in && !in_size && out && out_size == 8) {
        memcpy(out, &partition_size, 8);
        *done = 8;
        return TRUE;
    }
    if (code == 0x000900F0 && in && in_size == 8 && !out && !out_size) {
        memcpy(&extended_sectors, in, 8);
        *done = 0;
        return TRUE;
    }
    return fault(ERROR_INVALID_FUNCTION);
}

EXPORT BOOL WINAPI GetDiskFreeSpaceExW(LPCWSTR root, PULARGE_INTEGER available, PULARGE_INTEGER total,
                                       PULARGE_INTEGER free_bytes) {
    size_t length = wcslen(root);
    if (!length || root[length - 1] != L'\\' || available || !total || free_bytes) return fault(ERROR_INVALID_PARAMETER);
    total->QuadPart = volume_bytes;
    return TRUE;
}

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, void *reserved) {
    (void)instance, (void)reserved;
    if (reason == DLL_PROCESS_ATTACH) InitializeCriticalSection(&lock);
    return TRUE;
}
