// A stand-in for libcuda.so.1: as much of a driver as it takes to load kernels and to
// launch them. Python says what happens then; what it does not know, it does not support.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result;
typedef void* Pointer;
enum { SUCCESS = 0, INVALID_CONTEXT = 201, NOT_FOUND = 500, NOT_SUPPORTED = 801 };
enum { DEVICES = 2 };

typedef struct { long library; char name[64]; } Kernel;
typedef struct {
  unsigned grid[3], block[3], shared_bytes;
  Pointer stream, attributes;
  unsigned attribute_count;
} Config;
typedef long (*Load)(const char* image);  // a library, counted from 1, or minus an error
typedef Result (*Find)(long library, const char* name);
typedef Result (*Launch)(long library, const char* name, unsigned grid, unsigned block,
                         Pointer stream, int device, Pointer* parameters);

static Load load;
static Find find;
static Launch launch;
static int contexts[DEVICES];  // a context is the address of one of these
static _Thread_local int* current;

void python_says(Load on_load, Find on_find, Launch on_launch) {
  load = on_load, find = on_find, launch = on_launch;
}
Pointer context_now(void) { return current; }

Result cuInit(unsigned flags) { return SUCCESS; }
Result cuDriverGetVersion(int* version) { *version = 13000; return SUCCESS; }
Result cuDeviceGetCount(int* count) { *count = DEVICES; return SUCCESS; }
Result cuDeviceGet(int* device, int number) { *device = number; return SUCCESS; }
Result cuDeviceGetAttribute(int* value, int attribute, int device) {
  *value = attribute == 75 ? 9 : 0;  // the compute capability, 9.0
  return SUCCESS;
}
Result cuCtxGetCurrent(Pointer* context) { *context = current; return SUCCESS; }
Result cuCtxSetCurrent(Pointer context) { current = context; return SUCCESS; }
Result cuCtxGetDevice(int* device) {
  if (!current) return INVALID_CONTEXT;
  *device = current - contexts;
  return SUCCESS;
}
Result cuDevicePrimaryCtxRetain(Pointer* context, int device) {
  *context = contexts + device;
  return SUCCESS;
}
Result cuGetExportTable(const Pointer* table, Pointer id) {  // NVRTC asks for one
  *(Pointer*)table = 0;
  return NOT_FOUND;
}
Result cuGetErrorName(Result error, const char** text) {
  *text = "CUDA_ERROR_OF_THE_STAND_IN";
  return SUCCESS;
}
Result cuGetErrorString(Result error, const char** text) {
  *text = "an error of the stand-in for a driver";
  return SUCCESS;
}

Result cuLibraryLoadData(Pointer* library, const void* image, Pointer a, Pointer b,
                         unsigned c, Pointer d, Pointer e, unsigned f) {
  long found = load(image);
  if (found < 0) return -found;
  *library = (Pointer)found;
  return SUCCESS;
}
int unloads;
Result cuLibraryUnload(Pointer library) { unloads++; return SUCCESS; }
Result cuLibraryGetKernel(Pointer* kernel, Pointer library, const char* name) {
  Kernel* found = calloc(1, sizeof *found);
  found->library = (long)library;
  strncpy(found->name, name, sizeof found->name - 1);
  *kernel = found;
  return find(found->library, found->name);
}
Result cuKernelGetFunction(Pointer* function, Pointer kernel) {
  *function = kernel;
  return SUCCESS;
}
Result cuLaunchKernelEx(const Config* config, Pointer function, Pointer* parameters,
                        Pointer* extra) {
  Kernel* kernel = function;
  if (!current) return INVALID_CONTEXT;
  for (int i = 1; i < 3; i++)
    if (config->grid[i] != 1 || config->block[i] != 1) return NOT_SUPPORTED;
  if (config->shared_bytes) return NOT_SUPPORTED;
  return launch(kernel->library, kernel->name, config->grid[0], config->block[0],
                config->stream, current - contexts, parameters);
}

static Result not_supported(void) { return NOT_SUPPORTED; }
Result cuGetProcAddress_v2(const char* name, Pointer* function, int version, uint64_t flags,
                           int* status) {
  Dl_info here;
  dladdr((Pointer)contexts, &here);
  *function = dlsym(dlopen(here.dli_fname, RTLD_NOLOAD | RTLD_NOW), name);
  if (!*function) *function = (Pointer)not_supported;
  if (status) *status = 0;
  return SUCCESS;
}
Result cuGetProcAddress(const char* name, Pointer* function, int version, uint64_t flags) {
  return cuGetProcAddress_v2(name, function, version, flags, 0);
}
