/* Mapping the vDSO: a private copy of the image with the clock pointer filled in. */
#include "kernel/arch/x86_64/arch.h"
#include "kernel/base/string.h"
#include "kernel/linux/vdso/vdso.h"
#include "kernel/linux/vdso/vdso_offsets.h"
#include "mm/vm/vm.h"

extern const char vdso_image[], vdso_image_end[];

static bool copy_image(struct vm_object *obj, size_t size)
{
    for (size_t at = 0; at < size; at += PAGE_SIZE) {
        struct page *page;
        if (vm_object_page(obj, at / PAGE_SIZE, true, &page))
            return false;
        memcpy(page_to_virt(page), vdso_image + at, MIN(PAGE_SIZE, size - at));
        if (VDSO_CLOCK_OFFSET >= at && VDSO_CLOCK_OFFSET < at + PAGE_SIZE)
            *(const struct clock_params ***)((char *)page_to_virt(page) + VDSO_CLOCK_OFFSET - at) =
                &clock_current;
        page_put(page);
    }
    return true;
}

u64 vdso_map(void)
{
    size_t size = vdso_image_end - vdso_image;
    struct vm_object *obj = vm_object_create_anon(ALIGN_UP(size, PAGE_SIZE));
    if (!obj)
        return 0;
    s64 base = copy_image(obj, size) ? vm_map(0, size, VM_READ | VM_EXEC, 0, obj, 0, NULL) : 0;
    vm_object_put(obj);
    return base > 0 ? (u64)base : 0;
}
