/* The linked vDSO, as bytes: const char vdso_image[], vdso_image_end[]. The Makefile builds the file. */
    .section .rodata
    .balign 64
    .globl vdso_image, vdso_image_end
vdso_image:
    .incbin VDSO_FILE
vdso_image_end:
