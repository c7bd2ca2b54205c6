/* Stands in for what libunwind's configure script would write; only its remote x86-64 part is compiled. */
#define HAVE_ELF_H           1
#define HAVE_LINK_H          1
#define HAVE_STDINT_H        1
#define HAVE_SYS_TYPES_H     1
#define HAVE_DL_ITERATE_PHDR 1
#define STDC_HEADERS         1
#define PACKAGE_STRING       "libunwind"
#define PACKAGE_BUGREPORT    ""
