W="-std=gnu17 -O1 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wno-unused-result -Wno-nonnull -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds -D_GNU_SOURCE"
mkdir -p /tmp/abiobj/musl /tmp/abiobj/glibc
for c in *.c; do for l in musl glibc; do o=/tmp/abiobj/$l/${c%.c}.o; cc=gcc; [ $l = musl ] && cc=musl-gcc;  [ $o -nt $c -a $o -nt abi.h ] || $cc $W -c $c -o $o || exit 1; done; done
musl-gcc -static -o /tmp/abi-musl /tmp/abiobj/musl/*.o -pthread && gcc -o /tmp/abi-glibc /tmp/abiobj/glibc/*.o -pthread -lm
