/* A libnvidia-ml.so.1 for tests: answers the real nvidia-ml-py from the text file that the environment variable FAKENVML names,
 * which is read again at each nvmlInitWithFlags. FAKENVML_CALLS names a file that gets one line per call.
 *
 *   driver 580.95.05 | cuda 13000 | library 580.95.05
 *   gpu NAME            opens a card;   slice NAME opens a MIG slice of the latest card; lines below belong to it:
 *   uuid TEXT | total MIB | reserved MIB | used MIB | free MIB | cc MAJOR MINOR | ecc 0/1 | mig 0/1 | ats | vgpu | instances GI CI
 *   process PID c|g|b MIB   (compute, graphics, both; -1: not available)
 *   fail FUNCTION CODE      of the device; above the first card: of every call
 * -DOLD_DRIVER leaves out what drivers before R510 do not have. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned long long u64;
typedef struct { u64 total, free, used; } Memory;
typedef struct { unsigned version; u64 total, reserved, free, used; } Memory2;
typedef struct { unsigned pid; u64 used; unsigned gpu_instance, compute_instance; } Process;
typedef struct { unsigned counts[8]; u64 memory_mib; } Attributes;
typedef struct { unsigned version, value; } Mode;
_Static_assert(sizeof(Memory) == 24, "nvmlMemory_t");
_Static_assert(sizeof(Memory2) == 40, "nvmlMemory_v2_t");
_Static_assert(sizeof(Process) == 24, "nvmlProcessInfo_t");
_Static_assert(sizeof(Attributes) == 40, "nvmlDeviceAttributes_t");

enum { MOST = 16, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, VERSION = 25 };
typedef struct { char function[64]; int code; } Failure;
typedef struct {
    char name[96], uuid[96];
    u64 total, reserved, used, free;
    int major, minor, ecc, mig, ats, vgpu, gi, ci, parent, processes, failures;
    struct { unsigned pid; char kind; long long mib; } process[MOST];
    Failure failure[MOST];
} Device;

static Device devices[MOST], everywhere; /* `everywhere` holds the failures of all calls */
static int count, running;
static char driver[80], library[80];
static int cuda;

static void read_scenario(void)
{
    char line[256], word[64], rest[192];
    FILE *file = fopen(getenv("FAKENVML") ? getenv("FAKENVML") : "/dev/null", "r");
    Device *d = &everywhere;
    memset(devices, 0, sizeof devices), memset(&everywhere, 0, sizeof everywhere);
    count = 0, cuda = 0, driver[0] = library[0] = 0;
    while (file && fgets(line, sizeof line, file)) {
        rest[0] = 0;
        if (sscanf(line, " %63s %191[^\n]", word, rest) < 1) continue;
#define IS(text) (!strcmp(word, text))
        if (IS("driver")) snprintf(driver, sizeof driver, "%.79s", rest);
        else if (IS("library")) snprintf(library, sizeof library, "%.79s", rest);
        else if (IS("cuda")) cuda = atoi(rest);
        else if (IS("gpu") || IS("slice")) {
            int parent = -1;
            if (IS("slice")) for (parent = count - 1; devices[parent].parent >= 0; parent--) {}
            d = &devices[count++];
            d->ecc = -1, d->mig = -1, d->gi = -1, d->parent = parent, d->free = ~0ULL;
            snprintf(d->name, sizeof d->name, "%.95s", rest);
        }
        else if (IS("uuid")) snprintf(d->uuid, sizeof d->uuid, "%.95s", rest);
        else if (IS("total")) d->total = strtoull(rest, 0, 10) << 20;
        else if (IS("reserved")) d->reserved = strtoull(rest, 0, 10) << 20;
        else if (IS("used")) d->used = strtoull(rest, 0, 10) << 20;
        else if (IS("free")) d->free = strtoull(rest, 0, 10) << 20;
        else if (IS("cc")) sscanf(rest, "%d %d", &d->major, &d->minor);
        else if (IS("ecc")) d->ecc = atoi(rest);
        else if (IS("mig")) d->mig = atoi(rest);
        else if (IS("ats")) d->ats = 2;
        else if (IS("vgpu")) d->vgpu = 2;
        else if (IS("instances")) sscanf(rest, "%d %d", &d->gi, &d->ci);
        else if (IS("process")) {
            int i = d->processes++;
            sscanf(rest, "%u %c %lld", &d->process[i].pid, &d->process[i].kind, &d->process[i].mib);
        }
        else if (IS("fail")) {
            Failure *f = &d->failure[d->failures++];
            sscanf(rest, "%63s %d", f->function, &f->code);
        }
        else abort();
    }
    if (file) fclose(file);
    for (d = devices; d < devices + count; d++) if (d->free == ~0ULL) d->free = d->total - d->reserved - d->used;
}

static int failing(const char *function, const Device *d)
{
    for (int i = 0; i < d->failures; i++) if (!strcmp(d->failure[i].function, function)) return d->failure[i].code;
    return 0;
}

static int begin(const char *function, const Device *d)
{
    const char *path = getenv("FAKENVML_CALLS");
    FILE *file = path ? fopen(path, "a") : 0;
    if (file) fprintf(file, "%s\n", function), fclose(file);
    int code = failing(function, &everywhere);
    return code ? code : d ? failing(function, d) : 0;
}
#define CALL(d) do { int code = begin(__func__, d); if (code) return code; if (!running) return UNINITIALIZED; } while (0)
#define TEXT(source) (snprintf(out, size, "%s", source), 0)

int nvmlInitWithFlags(unsigned flags) { (void)flags; read_scenario(); int code = begin(__func__, 0); running += !code; return code; }
int nvmlShutdown(void) { CALL(0); running--; return 0; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { CALL(0); return TEXT(driver); }
int nvmlSystemGetNVMLVersion(char *out, unsigned size) { int code = begin(__func__, 0); return code ? code : TEXT(library); }
int nvmlSystemGetCudaDriverVersion_v2(int *out) { CALL(0); *out = cuda; return 0; }
int nvmlSystemGetProcessName(unsigned pid, char *out, unsigned size) { CALL(0); return snprintf(out, size, "/usr/bin/name-of-%u", pid), 0; }

int nvmlDeviceGetCount_v2(unsigned *out) { CALL(0); *out = 0; for (int i = 0; i < count; i++) *out += devices[i].parent < 0; return 0; }

static int find(int parent, unsigned index, Device **out)
{
    for (int i = 0; i < count; i++) if (devices[i].parent == parent && !index--) return *out = &devices[i], 0;
    return NOT_FOUND;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **out)
{
    Device *d = 0;
    if (find(-1, index, &d)) return INVALID;
    CALL(d);
    return *out = d, 0;
}
int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *out) { CALL(d); *out = d->mig >= 0 ? 7 : 0; return 0; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, Device **out) { CALL(d); return find((int)(d - devices), index, out); }

int nvmlDeviceGetName(Device *d, char *out, unsigned size) { CALL(d); return TEXT(d->name); }
int nvmlDeviceGetUUID(Device *d, char *out, unsigned size) { CALL(d); return TEXT(d->uuid); }
int nvmlDeviceGetCudaComputeCapability(Device *d, int *major, int *minor) { CALL(d); *major = d->major, *minor = d->minor; return 0; }
int nvmlDeviceGetEccMode(Device *d, unsigned *now, unsigned *next) { CALL(d); return d->ecc < 0 ? NOT_SUPPORTED : (*now = *next = (unsigned)d->ecc, 0); }
int nvmlDeviceGetMigMode(Device *d, unsigned *now, unsigned *next) { CALL(d); return d->mig < 0 ? NOT_SUPPORTED : (*now = *next = (unsigned)d->mig, 0); }
int nvmlDeviceGetVirtualizationMode(Device *d, unsigned *out) { CALL(d); *out = (unsigned)d->vgpu; return 0; }
int nvmlDeviceGetGpuInstanceId(Device *d, unsigned *out) { CALL(d); return d->gi < 0 ? NOT_SUPPORTED : (*out = (unsigned)d->gi, 0); }
int nvmlDeviceGetComputeInstanceId(Device *d, unsigned *out) { CALL(d); return d->gi < 0 ? NOT_SUPPORTED : (*out = (unsigned)d->ci, 0); }

/* As drivers since R510 fill the old form: the reserve counts as used. */
int nvmlDeviceGetMemoryInfo(Device *d, Memory *out)
{
    CALL(d);
#ifdef OLD_DRIVER
    *out = (Memory){.total = d->total - d->reserved, .free = d->free, .used = d->used};
#else
    *out = (Memory){.total = d->total, .free = d->free, .used = d->used + d->reserved};
#endif
    return 0;
}

static int list(Device *d, char kind, unsigned *n, Process *out)
{
    unsigned found = 0;
    for (int i = 0; i < d->processes; i++) {
        if (d->process[i].kind != kind && d->process[i].kind != 'b') continue;
        if (found < *n && out) out[found] = (Process){.pid = d->process[i].pid, .used = d->process[i].mib < 0 ? ~0ULL : (u64)d->process[i].mib << 20};
        found++;
    }
    int small = found && (found > *n || !out);
    return *n = found, small ? SMALL : 0;
}
#ifdef OLD_DRIVER
int nvmlDeviceGetComputeRunningProcesses_v2(Device *d, unsigned *n, Process *out) { CALL(d); return list(d, 'c', n, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v2(Device *d, unsigned *n, Process *out) { CALL(d); return list(d, 'g', n, out); }
#else
int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *n, Process *out) { CALL(d); return list(d, 'c', n, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *d, unsigned *n, Process *out) { CALL(d); return list(d, 'g', n, out); }
int nvmlDeviceGetAddressingMode(Device *d, Mode *out) { CALL(d); out->value = (unsigned)d->ats; return 0; }
int nvmlDeviceGetAttributes_v2(Device *d, Attributes *out) { CALL(d); *out = (Attributes){.memory_mib = d->total >> 20}; return 0; }
int nvmlDeviceGetMemoryInfo_v2(Device *d, Memory2 *out)
{
    CALL(d);
    if (out->version != 0x02000028) return VERSION;
    *out = (Memory2){.version = out->version, .total = d->total, .reserved = d->reserved, .free = d->free, .used = d->used};
    return 0;
}
#endif
