/* A vmcompute.dll that records: it checks every argument that it is called with, writes down what it saw, and answers
 * as a test told it. It is loaded by the Windows Python that the tests run, in the place of Windows' own.
 *
 * Its layout of the structures is written from hcsshim's comments (internal/wclayer/layerutils.go), independently of the
 * package under test. The Fake… exports are for the tests. */

#define COBJMACROS
#define INITGUID
#include <windows.h>
#include <objbase.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int Flavour;
    const wchar_t *HomeDir;
} DRIVER_INFO;

typedef struct {
    GUID LayerId;
    union {
        struct {
            ULONG Reserved : 31;
            ULONG Dirty : 1;
        } Bits;
        ULONG Value;
    } Flags;
    const wchar_t *Path;
} WC_LAYER_DESCRIPTOR;

_Static_assert(sizeof(wchar_t) == 2, "UTF-16");
#ifdef _WIN64
_Static_assert(sizeof(DRIVER_INFO) == 16 && offsetof(DRIVER_INFO, HomeDir) == 8, "DriverInfo");
_Static_assert(sizeof(WC_LAYER_DESCRIPTOR) == 32 && offsetof(WC_LAYER_DESCRIPTOR, Path) == 24, "descriptor");
#else
_Static_assert(sizeof(DRIVER_INFO) == 8 && offsetof(DRIVER_INFO, HomeDir) == 4, "DriverInfo");
_Static_assert(sizeof(WC_LAYER_DESCRIPTOR) == 24 && offsetof(WC_LAYER_DESCRIPTOR, Path) == 20, "descriptor");
#endif
_Static_assert(sizeof(FILE_BASIC_INFO) == 40, "basic info");

/* What a test sees and sets. */

typedef HRESULT(WINAPI *HOOK)(const char *name, const wchar_t *id, const wchar_t *other, const void *data, UINT32 size);

#define MAX_SCRIPTS 32
typedef struct {
    char name[32];
    HRESULT result;
    int skip; /* so many calls are answered as usual first */
} SCRIPT;

static CRITICAL_SECTION lock;
static wchar_t *log_text;
static size_t log_used, log_room;
static SCRIPT scripts[MAX_SCRIPTS];
static int script_count;
static wchar_t *images_text, *mount_text;
static HOOK hook;
static DWORD delay;
static volatile LONG inside_prepare, most_inside_prepare, live_strings, string_frees;

static void append(const wchar_t *text) {
    size_t length = wcslen(text);
    if (log_used + length + 1 > log_room) {
        log_room = (log_used + length + 1) * 2;
        log_text = realloc(log_text, log_room * sizeof(wchar_t));
    }
    memcpy(log_text + log_used, text, (length + 1) * sizeof(wchar_t));
    log_used += length;
}

/* One line of the log, put together by the call that it is about, so that the lines of threads do not mix. */
typedef struct {
    wchar_t *text;
    size_t used, room;
    HRESULT result;
} LINE;

static void add(LINE *line, const wchar_t *text) {
    size_t length = wcslen(text);
    if (line->used + length + 1 > line->room) {
        line->room = (line->used + length + 1) * 2;
        line->text = realloc(line->text, line->room * sizeof(wchar_t));
    }
    memcpy(line->text + line->used, text, (length + 1) * sizeof(wchar_t));
    line->used += length;
}

static void bad(LINE *line, const wchar_t *what) {
    add(line, L"|BAD ");
    add(line, what);
    line->result = E_INVALIDARG;
}

static void add_number(LINE *line, const wchar_t *name, unsigned long long value) {
    wchar_t text[64];
    swprintf(text, 64, L"|%ls=%llu", name, value);
    add(line, text);
}

static int is_text(const wchar_t *text) {
    if (text == NULL || (uintptr_t)text % sizeof(wchar_t)) return 0;
    for (size_t i = 0; i < 40000; i++) {
        if (IsBadReadPtr(text + i, sizeof(wchar_t))) return 0;
        if (!text[i]) return 1;
    }
    return 0;
}

static void add_text(LINE *line, const wchar_t *name, const wchar_t *text) {
    if (!is_text(text)) {
        bad(line, name);
        return;
    }
    add(line, L"|");
    add(line, name);
    add(line, L"=");
    add(line, text);
}

static void add_info(LINE *line, const DRIVER_INFO *info) {
    if (info == NULL || (uintptr_t)info % sizeof(void *) || IsBadReadPtr(info, sizeof *info)) bad(line, L"info pointer");
    else if (info->Flavour != 1) bad(line, L"info.Flavour");
    else if (!is_text(info->HomeDir) || *info->HomeDir) bad(line, L"info.HomeDir");
}

static void add_guid(LINE *line, const GUID *guid) {
    wchar_t text[40];
    StringFromGUID2(guid, text, 40);
    add(line, text);
}

static void add_layers(LINE *line, const WC_LAYER_DESCRIPTOR *layers, size_t count) {
    add_number(line, L"layers", count);
    if (count && ((uintptr_t)layers % sizeof(void *) || IsBadReadPtr(layers, count * sizeof *layers))) {
        bad(line, L"layers pointer");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        add(line, L"|");
        add_guid(line, &layers[i].LayerId);
        if (layers[i].Flags.Bits.Reserved) bad(line, L"reserved flags");
        add(line, layers[i].Flags.Bits.Dirty ? L"*" : L"");
        add_text(line, L"path", layers[i].Path);
    }
}

static LINE begin(const char *name) {
    LINE line = {0};
    wchar_t wide[64];
    swprintf(wide, 64, L"%hs", name);
    add(&line, wide);
    return line;
}

static HRESULT scripted(const char *name) {
    HRESULT result = S_OK;
    EnterCriticalSection(&lock);
    for (int i = 0; i < script_count; i++) {
        if (strcmp(scripts[i].name, name)) continue;
        if (scripts[i].skip > 0) scripts[i].skip--;
        else result = scripts[i].result;
        break;
    }
    LeaveCriticalSection(&lock);
    return result;
}

/* Ends a call: writes its line, and gives what it returns. */
static HRESULT end(LINE *line, const char *name, const wchar_t *id, const wchar_t *other, const void *data, UINT32 size) {
    HRESULT result = line->result;
    EnterCriticalSection(&lock);
    append(line->text);
    append(L"\n");
    LeaveCriticalSection(&lock);
    free(line->text);
    if (SUCCEEDED(result)) result = scripted(name);
    if (SUCCEEDED(result) && hook) result = hook(name, id, other, data, size);
    return result;
}

/* With a delay, the arguments are looked at again after it: nothing may have freed or moved them meanwhile. */
#define TWICE(check)                                                                                                       \
    do {                                                                                                                   \
        check;                                                                                                             \
        if (delay) {                                                                                                       \
            wchar_t *before = _wcsdup(line.text);                                                                          \
            HRESULT result_before = line.result;                                                                           \
            Sleep(delay);                                                                                                  \
            line.used = start;                                                                                             \
            line.text[start] = 0;                                                                                          \
            check;                                                                                                         \
            if (wcscmp(before, line.text) || result_before != line.result) bad(&line, L"changed during the call");         \
            free(before);                                                                                                  \
        }                                                                                                                  \
    } while (0)

#define EXPORT __declspec(dllexport) HRESULT WINAPI

static HRESULT simple(const char *name, const DRIVER_INFO *info, const wchar_t *id) {
    LINE line = begin(name);
    size_t start = line.used;
    TWICE({ add_info(&line, info); add_text(&line, L"id", id); });
    return end(&line, name, id, NULL, NULL, 0);
}

static HRESULT chained(const char *name, const DRIVER_INFO *info, const wchar_t *id, const wchar_t *path,
                       const WC_LAYER_DESCRIPTOR *layers, size_t count) {
    LINE line = begin(name);
    size_t start = line.used;
    TWICE({
        add_info(&line, info);
        add_text(&line, L"id", id);
        if (path) add_text(&line, L"folder", path);
        add_layers(&line, layers, count);
    });
    return end(&line, name, id, path, NULL, 0);
}

EXPORT ActivateLayer(const DRIVER_INFO *info, const wchar_t *id) { return simple("ActivateLayer", info, id); }
EXPORT DeactivateLayer(const DRIVER_INFO *info, const wchar_t *id) { return simple("DeactivateLayer", info, id); }
EXPORT DestroyLayer(const DRIVER_INFO *info, const wchar_t *id) { return simple("DestroyLayer", info, id); }
EXPORT UnprepareLayer(const DRIVER_INFO *info, const wchar_t *id) { return simple("UnprepareLayer", info, id); }

EXPORT CreateLayer(const DRIVER_INFO *info, const wchar_t *id, const wchar_t *parent) {
    LINE line = begin("CreateLayer");
    size_t start = line.used;
    TWICE({ add_info(&line, info); add_text(&line, L"id", id); add_text(&line, L"parent", parent); });
    return end(&line, "CreateLayer", id, parent, NULL, 0);
}

EXPORT CreateSandboxLayer(const DRIVER_INFO *info, const wchar_t *id, const void *parent,
                          const WC_LAYER_DESCRIPTOR *layers, size_t count) {
    if (parent) return E_INVALIDARG;
    return chained("CreateSandboxLayer", info, id, NULL, layers, count);
}

EXPORT ExpandSandboxSize(const DRIVER_INFO *info, const wchar_t *id, UINT64 size) {
    LINE line = begin("ExpandSandboxSize");
    size_t start = line.used;
    TWICE({ add_info(&line, info); add_text(&line, L"id", id); add_number(&line, L"size", size); });
    return end(&line, "ExpandSandboxSize", id, NULL, NULL, 0);
}

EXPORT ExportLayer(const DRIVER_INFO *info, const wchar_t *id, const wchar_t *path, const WC_LAYER_DESCRIPTOR *layers,
                   size_t count) {
    if (!path) return E_POINTER;
    return chained("ExportLayer", info, id, path, layers, count);
}

EXPORT ImportLayer(const DRIVER_INFO *info, const wchar_t *id, const wchar_t *path, const WC_LAYER_DESCRIPTOR *layers,
                   size_t count) {
    if (!path) return E_POINTER;
    return chained("ImportLayer", info, id, path, layers, count);
}

EXPORT PrepareLayer(const DRIVER_INFO *info, const wchar_t *id, const WC_LAYER_DESCRIPTOR *layers, size_t count) {
    LONG now = InterlockedIncrement(&inside_prepare);
    if (now > most_inside_prepare) most_inside_prepare = now;
    HRESULT result = chained("PrepareLayer", info, id, NULL, layers, count);
    InterlockedDecrement(&inside_prepare);
    return result;
}

EXPORT GetLayerMountPath(const DRIVER_INFO *info, const wchar_t *id, size_t *length, wchar_t *buffer) {
    LINE line = begin("GetLayerMountPath");
    size_t start = line.used;
    size_t room = 0;
    TWICE({ add_info(&line, info); add_text(&line, L"id", id); });
    if ((uintptr_t)length % sizeof(size_t) || IsBadWritePtr(length, sizeof *length)) bad(&line, L"length pointer");
    else room = *length;
    add_number(&line, L"room", room);
    add(&line, buffer ? L"|buffer" : L"|no buffer");
    if (buffer && IsBadWritePtr(buffer, room * sizeof(wchar_t))) bad(&line, L"buffer");
    HRESULT result = end(&line, "GetLayerMountPath", id, NULL, NULL, 0);
    if (FAILED(result)) return result;
    size_t needed = wcslen(mount_text) + 1;
    if (needed == 1) needed = 0;
    if (buffer) {
        if (room < needed) return HRESULT_FROM_WIN32(ERROR_INSUFFICIENT_BUFFER);
        memcpy(buffer, mount_text, needed * sizeof(wchar_t));
    }
    *length = needed;
    return S_OK;
}

EXPORT NameToGuid(const wchar_t *name, GUID *guid) {
    LINE line = begin("NameToGuid");
    size_t start = line.used;
    TWICE(add_text(&line, L"name", name));
    if (IsBadWritePtr(guid, sizeof *guid)) bad(&line, L"guid pointer");
    HRESULT result = end(&line, "NameToGuid", name, NULL, NULL, 0);
    if (FAILED(result)) return result;
    /* FNV-1a over the name, twice: enough to tell names apart. */
    UINT64 hash[2] = {14695981039346656037ull, 1099511628211ull};
    for (const wchar_t *at = name; *at; at++)
        for (int i = 0; i < 2; i++) hash[i] = (hash[i] ^ *at) * 1099511628211ull;
    memcpy(guid, hash, sizeof *guid);
    return S_OK;
}

EXPORT LayerExists(const DRIVER_INFO *info, const wchar_t *id, UINT32 *exists) {
    LINE line = begin("LayerExists");
    size_t start = line.used;
    TWICE({ add_info(&line, info); add_text(&line, L"id", id); });
    if ((uintptr_t)exists % 4 || IsBadWritePtr(exists, 4)) bad(&line, L"exists pointer");
    HRESULT result = end(&line, "LayerExists", id, NULL, NULL, 0);
    if (SUCCEEDED(result)) *exists = GetFileAttributesW(id) != INVALID_FILE_ATTRIBUTES;
    return result;
}

EXPORT ProcessBaseImage(const wchar_t *path) {
    LINE line = begin("ProcessBaseImage");
    size_t start = line.used;
    TWICE(add_text(&line, L"path", path));
    return end(&line, "ProcessBaseImage", path, NULL, NULL, 0);
}

EXPORT ProcessUtilityImage(const wchar_t *path) {
    LINE line = begin("ProcessUtilityImage");
    size_t start = line.used;
    TWICE(add_text(&line, L"path", path));
    return end(&line, "ProcessUtilityImage", path, NULL, NULL, 0);
}

EXPORT GrantVmAccess(const wchar_t *vm, const wchar_t *file) {
    LINE line = begin("GrantVmAccess");
    size_t start = line.used;
    TWICE({ add_text(&line, L"vm", vm); add_text(&line, L"file", file); });
    return end(&line, "GrantVmAccess", vm, file, NULL, 0);
}

#ifndef OLD_BUILD

static wchar_t *given(const wchar_t *text) {
    size_t size = (wcslen(text) + 1) * sizeof(wchar_t);
    wchar_t *copy = CoTaskMemAlloc(size);
    memcpy(copy, text, size);
    InterlockedIncrement(&live_strings);
    return copy;
}

EXPORT GetBaseImages(wchar_t **buffer) {
    LINE line = begin("GetBaseImages");
    if ((uintptr_t)buffer % sizeof(void *) || IsBadWritePtr(buffer, sizeof *buffer)) bad(&line, L"buffer pointer");
    HRESULT result = end(&line, "GetBaseImages", NULL, NULL, NULL, 0);
    if (SUCCEEDED(result)) *buffer = given(images_text);
    return result;
}

/* The streaming exports. What is exported, a test puts here with FakeAddEntry. */

typedef struct {
    wchar_t *name;
    FILE_BASIC_INFO info;
    INT64 size;
    int deleted;
    BYTE *data;
    UINT32 length;
} STREAM_ENTRY;

typedef struct {
    UINT32 magic;
    int exporting, index;
    UINT32 position;
} CONTEXT_OF_STREAM;

#define MAGIC 0x4c434657
static STREAM_ENTRY entries[256];
static int entry_count;
static volatile LONG live_contexts;

static HRESULT begin_stream(const char *name, const DRIVER_INFO *info, const wchar_t *id,
                            const WC_LAYER_DESCRIPTOR *layers, size_t count, void **context, int exporting) {
    if ((uintptr_t)context % sizeof(void *) || IsBadWritePtr(context, sizeof *context)) return E_POINTER;
    HRESULT result = chained(name, info, id, NULL, layers, count);
    if (FAILED(result)) return result;
    CONTEXT_OF_STREAM *made = calloc(1, sizeof *made);
    made->magic = MAGIC;
    made->exporting = exporting;
    made->index = -1;
    InterlockedIncrement(&live_contexts);
    *context = made;
    return S_OK;
}

static CONTEXT_OF_STREAM *valid(LINE *line, CONTEXT_OF_STREAM *context, int exporting) {
    if (IsBadReadPtr(context, sizeof *context) || context->magic != MAGIC || context->exporting != exporting)
        bad(line, L"context");
    return context;
}

static HRESULT end_stream(const char *name, CONTEXT_OF_STREAM *context, int exporting) {
    LINE line = begin(name);
    valid(&line, context, exporting);
    HRESULT checked = line.result;
    HRESULT result = end(&line, name, NULL, NULL, NULL, 0);
    if (SUCCEEDED(checked)) {
        context->magic = 0;
        free(context);
        InterlockedDecrement(&live_contexts);
    }
    return result;
}

EXPORT ExportLayerBegin(const DRIVER_INFO *info, const wchar_t *id, const WC_LAYER_DESCRIPTOR *layers, size_t count,
                        void **context) {
    return begin_stream("ExportLayerBegin", info, id, layers, count, context, 1);
}

EXPORT ExportLayerNext(CONTEXT_OF_STREAM *context, wchar_t **name, FILE_BASIC_INFO *info, INT64 *size, UINT32 *deleted) {
    LINE line = begin("ExportLayerNext");
    valid(&line, context, 1);
    if ((uintptr_t)name % sizeof(void *) || IsBadWritePtr(name, sizeof *name)) bad(&line, L"name pointer");
    if ((uintptr_t)info % 8 || IsBadWritePtr(info, sizeof *info)) bad(&line, L"info pointer");
    if ((uintptr_t)size % 8 || IsBadWritePtr(size, 8)) bad(&line, L"size pointer");
    if ((uintptr_t)deleted % 4 || IsBadWritePtr(deleted, 4)) bad(&line, L"deleted pointer");
    HRESULT result = end(&line, "ExportLayerNext", NULL, NULL, NULL, 0);
    if (FAILED(result)) return result;
    if (++context->index >= entry_count) return HRESULT_FROM_WIN32(ERROR_NO_MORE_FILES);
    context->position = 0;
    STREAM_ENTRY *entry = &entries[context->index];
    *name = given(entry->name);
    *info = entry->info;
    *size = entry->size;
    *deleted = entry->deleted;
    return S_OK;
}

EXPORT ExportLayerRead(CONTEXT_OF_STREAM *context, BYTE *buffer, UINT32 size, UINT32 *done) {
    LINE line = begin("ExportLayerRead");
    valid(&line, context, 1);
    if (IsBadWritePtr(buffer, size)) bad(&line, L"buffer");
    if ((uintptr_t)done % 4 || IsBadWritePtr(done, 4)) bad(&line, L"done pointer");
    HRESULT result = end(&line, "ExportLayerRead", NULL, NULL, NULL, 0);
    if (FAILED(result)) return result;
    STREAM_ENTRY *entry = &entries[context->index];
    UINT32 left = entry->length - context->position;
    /* Never more than 1000 at once: a caller must go on asking. */
    if (size > left) size = left;
    if (size > 1000) size = 1000;
    memcpy(buffer, entry->data + context->position, size);
    context->position += size;
    *done = size;
    return S_OK;
}

EXPORT ExportLayerEnd(CONTEXT_OF_STREAM *context) { return end_stream("ExportLayerEnd", context, 1); }

EXPORT ImportLayerBegin(const DRIVER_INFO *info, const wchar_t *id, const WC_LAYER_DESCRIPTOR *layers, size_t count,
                        void **context) {
    return begin_stream("ImportLayerBegin", info, id, layers, count, context, 0);
}

EXPORT ImportLayerNext(CONTEXT_OF_STREAM *context, const wchar_t *name, const FILE_BASIC_INFO *info) {
    LINE line = begin("ImportLayerNext");
    valid(&line, context, 0);
    add_text(&line, L"name", name);
    if (info == NULL) add(&line, L"|deleted");
    else if ((uintptr_t)info % 8 || IsBadReadPtr(info, sizeof *info)) bad(&line, L"info pointer");
    else {
        add_number(&line, L"creation", info->CreationTime.QuadPart);
        add_number(&line, L"access", info->LastAccessTime.QuadPart);
        add_number(&line, L"write", info->LastWriteTime.QuadPart);
        add_number(&line, L"change", info->ChangeTime.QuadPart);
        add_number(&line, L"attributes", info->FileAttributes);
    }
    return end(&line, "ImportLayerNext", name, NULL, NULL, 0);
}

EXPORT ImportLayerWrite(CONTEXT_OF_STREAM *context, const BYTE *data, UINT32 size) {
    LINE line = begin("ImportLayerWrite");
    valid(&line, context, 0);
    if (IsBadReadPtr(data, size)) bad(&line, L"data");
    add_number(&line, L"size", size);
    return end(&line, "ImportLayerWrite", NULL, NULL, data, size);
}

EXPORT ImportLayerEnd(CONTEXT_OF_STREAM *context) { return end_stream("ImportLayerEnd", context, 0); }

EXPORT FakeAddEntry(const wchar_t *name, const FILE_BASIC_INFO *info, INT64 size, int deleted, const BYTE *data,
                    UINT32 length) {
    STREAM_ENTRY *entry = &entries[entry_count++];
    entry->name = _wcsdup(name);
    entry->info = *info;
    entry->size = size;
    entry->deleted = deleted;
    entry->data = malloc(length ? length : 1);
    memcpy(entry->data, data, length);
    entry->length = length;
    return S_OK;
}

__declspec(dllexport) LONG WINAPI FakeLiveContexts(void) { return live_contexts; }

#endif

/* Counts what is given back of the strings given out: every block of the task allocator passes through here. */

static HRESULT WINAPI spy_query(IMallocSpy *spy, REFIID id, void **object) {
    if (!IsEqualIID(id, &IID_IMallocSpy) && !IsEqualIID(id, &IID_IUnknown)) return E_NOINTERFACE;
    *object = spy;
    return S_OK;
}
static ULONG WINAPI spy_reference(IMallocSpy *spy) { return (void)spy, 1; }
static SIZE_T WINAPI pre_alloc(IMallocSpy *spy, SIZE_T size) { return (void)spy, size; }
static void *WINAPI post_alloc(IMallocSpy *spy, void *block) { return (void)spy, block; }
static void *WINAPI pre_free(IMallocSpy *spy, void *block, BOOL spyed) {
    (void)spy, (void)spyed;
    if (block) InterlockedIncrement(&string_frees);
    return block;
}
static void WINAPI post_free(IMallocSpy *spy, BOOL spyed) { (void)spy, (void)spyed; }
static SIZE_T WINAPI pre_realloc(IMallocSpy *spy, void *block, SIZE_T size, void **other, BOOL spyed) {
    (void)spy, (void)spyed;
    *other = block;
    return size;
}
static void *WINAPI post_realloc(IMallocSpy *spy, void *block, BOOL spyed) { return (void)spy, (void)spyed, block; }
static void *WINAPI pre_block(IMallocSpy *spy, void *block, BOOL spyed) { return (void)spy, (void)spyed, block; }
static SIZE_T WINAPI post_size(IMallocSpy *spy, SIZE_T size, BOOL spyed) { return (void)spy, (void)spyed, size; }
static INT WINAPI post_did(IMallocSpy *spy, void *block, BOOL spyed, INT did) {
    return (void)spy, (void)block, (void)spyed, did;
}
static void WINAPI nothing(IMallocSpy *spy) { (void)spy; }

static IMallocSpyVtbl spy_calls = {
    spy_query, spy_reference, spy_reference, pre_alloc, post_alloc, pre_free,  post_free, pre_realloc,
    post_realloc, pre_block, post_size, pre_block, post_did, nothing, nothing,
};
static IMallocSpy spy = {&spy_calls};

/* For the tests. */

__declspec(dllexport) void WINAPI FakeReset(void) {
    EnterCriticalSection(&lock);
    log_used = 0;
    if (log_text) log_text[0] = 0;
    script_count = 0;
    hook = NULL;
    delay = 0;
    most_inside_prepare = 0;
    free(images_text);
    images_text = _wcsdup(L"{\"Images\":[]}");
    free(mount_text);
    mount_text = _wcsdup(L"\\\\?\\Volume{12345678-0000-0000-0000-000000000000}\\");
#ifndef OLD_BUILD
    for (int i = 0; i < entry_count; i++) free(entries[i].name), free(entries[i].data);
    entry_count = 0;
#endif
    live_strings = string_frees = 0;
    LeaveCriticalSection(&lock);
}

__declspec(dllexport) void WINAPI FakeAnswer(const char *name, HRESULT result, int skip) {
    EnterCriticalSection(&lock);
    SCRIPT *script = &scripts[script_count++];
    strncpy(script->name, name, sizeof script->name - 1);
    script->result = result;
    script->skip = skip;
    LeaveCriticalSection(&lock);
}

__declspec(dllexport) void WINAPI FakeTexts(const wchar_t *images, const wchar_t *mount) {
    free(images_text);
    images_text = _wcsdup(images);
    free(mount_text);
    mount_text = _wcsdup(mount);
}

__declspec(dllexport) void WINAPI FakeHook(HOOK called) { hook = called; }
__declspec(dllexport) void WINAPI FakeDelay(DWORD milliseconds) { delay = milliseconds; }
__declspec(dllexport) const wchar_t *WINAPI FakeLog(void) { return log_text ? log_text : L""; }
__declspec(dllexport) LONG WINAPI FakeMostInsidePrepare(void) { return most_inside_prepare; }
__declspec(dllexport) LONG WINAPI FakeStringsGiven(void) { return live_strings; }
__declspec(dllexport) LONG WINAPI FakeStringsFreed(void) { return string_frees; }

BOOL WINAPI DllMain(HINSTANCE instance, DWORD reason, void *reserved) {
    (void)instance, (void)reserved;
    if (reason == DLL_PROCESS_ATTACH) {
        InitializeCriticalSection(&lock);
        FakeReset();
        CoRegisterMallocSpy(&spy);
    }
    return TRUE;
}
