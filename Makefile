# Moka: one Makefile, no recursion.
#   make deps   install the Debian packages that building and testing need (root or sudo)
#   make        build everything: the kernel, the launcher, the `moka` command, the examples
#   make run    deps, build, and boot the example JAR
#   make test   deps, build, and run every test; ends with "N passed, N failed"
#   make bench  run the benchmarks and print their figures
#   make check  the structure and formatting checks alone

B := build
.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
# One short line a step; `make V=1` shows the whole commands.
say = $(if $(V),,@echo "  $(1)  $@" && )
MAKEFLAGS += --no-builtin-rules

# ---- dependencies ------------------------------------------------------------------------------------------------

PACKAGES := build-essential clang-format dpkg-dev python3 qemu-system-x86 openjdk-17-jdk-headless erofs-utils \
            musl-tools spin libunwind-dev busybox-static cpio zlib1g-dev libzydis-dev
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: deps
deps: $(B)/.deps

$(B)/.deps: Makefile
	@mkdir -p $(B)
	@missing=; for p in $(PACKAGES); do dpkg-query -W -f='$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; done; \
	 if [ -n "$$missing" ]; then echo "installing:$$missing"; $(SUDO) apt-get update -q && \
	  DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -qy --no-install-recommends $$missing; fi
	@touch $@

# ---- third-party source: from Debian's source packages, never committed --------------------------------------------

MUSL_VERSION := 1.2.3
MUSL := $(B)/third-party/musl-$(MUSL_VERSION)

$(MUSL)/.unpacked: tools/fetch-source | $(B)/.deps
	tools/fetch-source musl $(MUSL_VERSION) $(B)/third-party
	@touch $@

LWIP_VERSION := 2.1.3+dfsg1
LWIP := $(B)/third-party/lwip-$(LWIP_VERSION)
$(LWIP)/.unpacked: tools/fetch-source net/lwip/lwip.patch | $(B)/.deps
	rm -rf $(LWIP)
	tools/fetch-source lwip $(LWIP_VERSION) $(B)/third-party
	find $(LWIP)/src -name '*.[ch]' -exec sed -i 's/\r$$//' {} +
	patch -s -p1 -d $(LWIP) <net/lwip/lwip.patch
	@touch $@

UNWIND_VERSION := 1.6.2
UNWIND := $(B)/third-party/libunwind-$(UNWIND_VERSION)
$(UNWIND)/.unpacked: tools/fetch-source | $(B)/.deps
	tools/fetch-source libunwind $(UNWIND_VERSION) $(B)/third-party
	@touch $@

# ---- the kernel ----------------------------------------------------------------------------------------------------

CC := gcc
WARN := -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare -Wvla
KERNEL_DIRS := $(wildcard kernel mm sched virtio net jni-bridge/kernel jvm-balloon)
OFFSETS_C := kernel/arch/x86_64/offsets.c
# Not linked into the kernel: a program image of its own, and the source of offsets.h.
KERNEL_C := $(filter-out kernel/linux/vdso/vdso.c $(OFFSETS_C),$(shell find $(KERNEL_DIRS) -name '*.c' | sort))
KERNEL_S := $(shell find $(KERNEL_DIRS) -name '*.S' | sort)
KERNEL_C_O := $(KERNEL_C:%.c=$(B)/%.o)
KERNEL_S_O := $(KERNEL_S:%.S=$(B)/%.S.o)
# -flto: code is made when all of it is known, so that small functions are inlined across files. A packet's way leads
# through some hundred functions in a dozen files; calls and returns are a tenth of its instructions.
KERNEL_CFLAGS := -std=gnu17 -O2 -g -ffreestanding -mno-red-zone -mgeneral-regs-only -mcmodel=kernel -fno-pic -fno-pie \
	-fno-stack-protector -fno-strict-aliasing -fno-delete-null-pointer-checks -fasynchronous-unwind-tables \
	-fno-common -ffunction-sections -fno-builtin-printf -flto=auto -I. -I$(B)/generated $(WARN)

# musl's own compiler flags for the pieces compiled into the kernel: its headers, our code-generation rules.
MUSL_C := $(addprefix src/string/,memchr.c memrchr.c memcmp.c strlen.c strnlen.c strcmp.c strncmp.c strchr.c \
	strchrnul.c strrchr.c strstr.c strspn.c strcspn.c strlcpy.c strlcat.c) src/stdlib/qsort.c src/stdlib/qsort_nr.c
MUSL_S := $(addprefix src/string/x86_64/,memcpy.s memmove.s memset.s)
MUSL_O := $(MUSL_C:%.c=$(B)/musl/%.o) $(MUSL_S:%.s=$(B)/musl/%.s.o)
MUSL_CFLAGS := -std=gnu99 -O2 -ffreestanding -mno-red-zone -mgeneral-regs-only -mcmodel=kernel -fno-pic -fno-pie \
	-fno-stack-protector -fasynchronous-unwind-tables -w -nostdinc -I$(MUSL)/arch/x86_64 -I$(MUSL)/arch/generic \
	-I$(B)/musl/include -I$(MUSL)/src/include -I$(MUSL)/src/internal -I$(MUSL)/include -D_XOPEN_SOURCE=700

$(B)/musl/include/.made: $(MUSL)/.unpacked
	@mkdir -p $(B)/musl/include/bits
	sed -f $(MUSL)/tools/mkalltypes.sed $(MUSL)/arch/x86_64/bits/alltypes.h.in $(MUSL)/include/alltypes.h.in > $(B)/musl/include/bits/alltypes.h
	@touch $@

$(MUSL_C:%=$(MUSL)/%) $(MUSL_S:%=$(MUSL)/%): $(MUSL)/.unpacked ;

$(B)/musl/%.o: $(MUSL)/%.c $(B)/musl/include/.made
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(MUSL_CFLAGS) -c $< -o $@
$(B)/musl/%.s.o: $(MUSL)/%.s $(MUSL)/.unpacked
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -c $< -o $@

# libunwind's remote interface for x86-64. Debian's archive is linked for the low 2 GiB, so it is compiled here. Its memory
# pools are kernel/base/unwind_glue.c's.
UNWIND_C := $(addprefix src/x86_64/,Gapply_reg_state.c Gcreate_addr_space.c Gget_save_loc.c Gglobal.c Ginit.c Ginit_remote.c \
	Gregs.c Gstash_frame.c Gstep.c Gos-linux.c is_fpreg.c) \
	$(addprefix src/dwarf/,Gexpr.c Gfde.c Gfind_unwind_table.c Gfind_proc_info-lsb.c Gparser.c Gpe.c global.c) \
	$(addprefix src/mi/,Gget_reg.c Gset_caching_policy.c flush_cache.c init.c Gfind_dynamic_proc_info.c \
	Gdyn-extract.c Gdyn-remote.c Gget_accessors.c)
UNWIND_O := $(UNWIND_C:%.c=$(B)/unwind/%.o)
UNWIND_CFLAGS := -std=gnu99 -O2 -ffreestanding -mno-red-zone -mno-sse -mcmodel=kernel -fno-pic -fno-pie -fno-stack-protector \
	-fasynchronous-unwind-tables -ffunction-sections -fdata-sections -w -D_GNU_SOURCE -DNDEBUG -DHAVE_CONFIG_H \
	-Ikernel/base/libunwind -I$(UNWIND)/include -I$(UNWIND)/include/tdep -I$(UNWIND)/src
$(UNWIND_C:%=$(UNWIND)/%): $(UNWIND)/.unpacked ;
$(B)/unwind/%.o: $(UNWIND)/%.c kernel/base/libunwind/config.h
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(UNWIND_CFLAGS) -c $< -o $@

# lwIP: the core, IPv4 and IPv6, Ethernet; our options and platform in net/lwip. Only net/ sees its headers.
LWIP_C := $(addprefix src/core/,def.c inet_chksum.c init.c ip.c mem.c memp.c netif.c pbuf.c raw.c stats.c tcp.c tcp_in.c \
	tcp_out.c timeouts.c udp.c) \
	$(addprefix src/core/ipv4/,dhcp.c etharp.c icmp.c igmp.c ip4.c ip4_addr.c ip4_frag.c) \
	$(addprefix src/core/ipv6/,ethip6.c icmp6.c inet6.c ip6.c ip6_addr.c ip6_frag.c mld6.c nd6.c) src/netif/ethernet.c
LWIP_O := $(LWIP_C:%.c=$(B)/lwip/%.o)
LWIP_INCLUDE := -Inet/lwip -I$(LWIP)/src/include
$(LWIP_C:%=$(LWIP)/%): $(LWIP)/.unpacked ;
$(B)/lwip/%.o: $(LWIP)/%.c net/lwip/lwipopts.h net/lwip/arch/cc.h net/lwip/lwip.patch
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(filter-out $(WARN),$(KERNEL_CFLAGS)) -w $(LWIP_INCLUDE) -c $< -o $@
$(B)/net/%.o: KERNEL_CFLAGS += $(LWIP_INCLUDE)
$(patsubst %.c,$(B)/%.o,$(filter net/%,$(KERNEL_C))): | $(LWIP)/.unpacked

$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(KERNEL_CFLAGS) -MMD -MP -c $< -o $@
$(B)/%.S.o: %.S $(B)/generated/offsets.h
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -D__ASSEMBLER__ $(ASFLAGS_EXTRA) -I. -I$(B)/generated -g -MMD -MP -c $< -o $@

# Structure offsets for assembly: the compiler prints them into an assembly text, sed picks them out.
$(B)/generated/offsets.h: $(OFFSETS_C)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(KERNEL_CFLAGS) -fno-lto -MMD -MP -MF $(@:.h=.d) -MT $@ -S $< -o $(@:.h=.s)
	@sed -n 's/.*"@\([A-Z0-9_]*\) \$$*\(-*[0-9]*\)".*/#define \1 \2/p' $(@:.h=.s) > $@
-include $(B)/generated/offsets.d

-include $(KERNEL_C_O:.o=.d) $(KERNEL_S_O:.o=.d)

# The vDSO is program code: linked by itself, then embedded; the kernel learns where its clock pointer lies.
VDSO := $(B)/kernel/linux/vdso/vdso.so
VDSO_OFFSETS := $(B)/generated/kernel/linux/vdso/vdso_offsets.h
$(VDSO): kernel/linux/vdso/vdso.c kernel/linux/vdso/vdso_abi.h kernel/linux/vdso/vdso.ld kernel/linux/vdso/vdso.map kernel/arch/x86_64/arch.h kernel/arch/x86_64/cpu.h
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -std=gnu17 -O2 -ffreestanding -fPIC -shared -nostdlib -mgeneral-regs-only -fno-stack-protector -fasynchronous-unwind-tables $(WARN) -I. \
	  -Wl,-soname,linux-vdso.so.1,--hash-style=both,--build-id=none,--eh-frame-hdr,-Bsymbolic,-z,noexecstack,-z,max-page-size=4096,--version-script=kernel/linux/vdso/vdso.map -T kernel/linux/vdso/vdso.ld $< -o $@
$(VDSO_OFFSETS): $(VDSO)
	@mkdir -p $(@D)
	@! readelf -rW $< | grep -q R_X86_64 || { echo "the vDSO must not need relocation"; exit 1; }
	@nm $< | awk '$$3 == "vdso_clock" { print "#define VDSO_CLOCK_OFFSET 0x" $$1 "UL"; found = 1 } END { exit !found }' > $@
$(B)/kernel/linux/vdso/image.S.o: $(VDSO)
$(B)/kernel/linux/vdso/image.S.o: private ASFLAGS_EXTRA := -DVDSO_FILE='"$(VDSO)"'
$(B)/kernel/linux/vdso/map.o: $(VDSO_OFFSETS)

KERNEL := $(B)/moka-kernel
.PHONY: kernel-only
kernel-only: $(KERNEL)
# What was compiled with -flto becomes one object of plain code.
KERNEL_CODE := $(B)/moka-kernel.o
$(KERNEL_CODE): $(KERNEL_C_O) $(LWIP_O)
	$(call say,LTO)$(CC) $(KERNEL_CFLAGS) -Wno-maybe-uninitialized -nostdlib -r -flinker-output=nolto-rel $^ -o $@
# Linked twice: the symbols of the first link become the table that names the kernel's frames in a backtrace.
KERNEL_PARTS := $(KERNEL_CODE) $(KERNEL_S_O) $(MUSL_O) $(UNWIND_O)
KERNEL_LINK = $(CC) -nostdlib -static -no-pie -Wl,-z,max-page-size=4096,-z,noexecstack,--gc-sections,--build-id=none,--eh-frame-hdr \
	-T kernel/arch/x86_64/kernel.ld $(KERNEL_PARTS)
$(KERNEL): kernel/arch/x86_64/kernel.ld tools/make-ksyms $(KERNEL_PARTS)
	@tools/make-ksyms > $@.none.S && $(CC) -c $@.none.S -o $@.none.o
	$(call say,LINK)$(KERNEL_LINK) $@.none.o -lgcc -o $@.first
	@tools/make-ksyms $@.first > $@.ksyms.S && $(CC) -c $@.ksyms.S -o $@.ksyms.o
	@$(KERNEL_LINK) $@.ksyms.o -lgcc -o $@
	@rm -f $@.first $@.none.* $@.ksyms.*

# ---- the moka command (host side) and the launcher (guest side) -----------------------------------------------------

JDK := /usr/lib/jvm/java-17-openjdk-amd64
PREFIX ?= /usr/local
HOST_CFLAGS := -std=gnu17 -D_GNU_SOURCE -O2 -g -Wall -Wextra -Werror -Wno-missing-field-initializers -I.
LAUNCHER_CFLAGS := $(HOST_CFLAGS) -I$(JDK)/include -I$(JDK)/include/linux
MOKA := $(B)/moka
LAUNCHER := $(B)/moka-launcher
MOKA_O := $(patsubst %.c,$(B)/host/%.o,$(wildcard java-launcher/host/*.c))
LAUNCHER_O := $(patsubst %.c,$(B)/host/%.o,$(wildcard java-launcher/guest/*.c))
EXAMPLES := $(patsubst examples/%.java,$(B)/examples/%.jar,$(wildcard examples/*.java))

$(B)/host/java-launcher/guest/%.o: java-launcher/guest/%.c | $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(LAUNCHER_CFLAGS) -MMD -MP -c $< -o $@
$(B)/host/java-launcher/host/%.o: java-launcher/host/%.c | $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(HOST_CFLAGS) -MMD -MP -c $< -o $@
$(MOKA): $(MOKA_O)
	$(call say,CC)$(CC) -o $@ $^ -lz -lZydis
$(LAUNCHER): $(LAUNCHER_O)
	$(call say,CC)$(CC) -o $@ $^

$(B)/examples/%.jar: examples/%.java | $(B)/.deps
	@mkdir -p $(B)/examples/$*
	$(JDK)/bin/javac --release 17 -d $(B)/examples/$* $<
	$(JDK)/bin/jar --create --file $@ --main-class $* -C $(B)/examples/$* .

-include $(MOKA_O:.o=.d) $(LAUNCHER_O:.o=.d)

.PHONY: install
install: $(MOKA) $(LAUNCHER) $(KERNEL)
	install -D $(MOKA) $(DESTDIR)$(PREFIX)/bin/moka
	install -D $(LAUNCHER) $(DESTDIR)$(PREFIX)/lib/moka/moka-launcher
	install -D $(KERNEL) $(DESTDIR)$(PREFIX)/lib/moka/moka-kernel

# ---- everything ----------------------------------------------------------------------------------------------------

.PHONY: all run test bench check clean
all: $(B)/.deps $(KERNEL) $(MOKA) $(LAUNCHER) $(EXAMPLES)

run: all
	$(MOKA) run $(B)/examples/Hello.jar

clean:
	rm -rf $(B)

# ---- unit tests: each on the host, under sanitizers; a program prints `ok NAME` or `not ok NAME: why` lines ------------

HOST_TEST_CFLAGS := -std=gnu17 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -I. $(WARN)
UNIT_TESTS += $(B)/tests/unit/virtio-queue $(B)/tests/unit/virtio-drivers $(B)/tests/unit/virtio-net
$(B)/tests/unit/virtio-%: tests/unit/virtio/test_%.c virtio/queue.c $(wildcard virtio/*.[ch] tests/unit/virtio/*.h) sched/waitq.c
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(HOST_TEST_CFLAGS) -pthread $< virtio/queue.c -o $@

UNIT_TESTS += $(B)/tests/unit/base
$(B)/tests/unit/base: tests/unit/base/test_base.c tests/unit/base/kernel_side.c kernel/base/tree.c $(wildcard kernel/base/*.[ch])
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(HOST_TEST_CFLAGS) -Wno-format-security $(filter tests/%.c,$^) kernel/base/tree.c -o $@

# Clocks and the local APIC on a CPU that tests/unit/arch/machine.c plays.
UNIT_TESTS += $(B)/tests/unit/arch-clock
$(B)/tests/unit/arch-clock: tests/unit/arch/test_clock.c tests/unit/arch/machine.c $(addprefix kernel/arch/x86_64/,clock.c kvmclock.c lapic.c) \
		tests/unit/arch/machine.h $(wildcard kernel/arch/x86_64/*.h tests/unit/arch/shim/*/*/*/*.h)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -Itests/unit/arch/shim -Itests/unit/arch $(HOST_TEST_CFLAGS) -fno-builtin -fno-strict-aliasing -pthread $(filter %.c,$^) -o $@

UNIT_TESTS += $(B)/tests/unit/arch-acpi
$(B)/tests/unit/arch-acpi: tests/unit/arch/test_acpi.c kernel/arch/x86_64/acpi.c $(wildcard kernel/arch/x86_64/*.h)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(HOST_TEST_CFLAGS) -fno-builtin $< -o $@

UNIT_TESTS += $(B)/tests/unit/net-checksum
$(B)/tests/unit/net-checksum: tests/unit/net/test_checksum.c net/checksum.c net/checksum.h
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(HOST_TEST_CFLAGS) $(filter %.c,$^) -o $@

UNIT_TESTS += $(B)/tests/unit/net-hash
$(B)/tests/unit/net-hash: tests/unit/net/test_hash.c net/hash.h net/flow.h | $(LWIP)/.unpacked
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(LWIP_INCLUDE) $(HOST_TEST_CFLAGS) -O2 $(filter %.c,$^) -o $@

UNIT_TESTS += $(B)/tests/unit/net-cubic $(B)/tests/unit/net-recovery
$(B)/tests/unit/net-cubic: tests/unit/net/test_cubic.c net/cubic.c net/cubic.h
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(HOST_TEST_CFLAGS) $(filter %.c,$^) -lm -o $@
# With all of lwIP, whose warnings are its own.
$(B)/tests/unit/net-recovery: tests/unit/net/test_recovery.c net/recovery.c net/cubic.c net/table.c net/checksum.c kernel/base/tree.c \
  net/lwip/lwip.patch $(wildcard net/*.h net/lwip/*.h net/lwip/arch/*.h) | $(LWIP)/.unpacked
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(LWIP_INCLUDE) $(filter-out $(WARN),$(HOST_TEST_CFLAGS)) -w $(filter %.c,$^) $(LWIP_C:%=$(LWIP)/%) -o $@

# The launcher's warnings, not the kernel's: it is a program of the host. Leaks are no fault of a command that ends at once.
SANITIZED_CFLAGS := $(HOST_CFLAGS) -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANITIZED_MOKA_O := $(patsubst %.c,$(B)/sanitized/%.o,$(wildcard java-launcher/host/*.c) tests/unit/launcher/no_leaks.c)
LAUNCHER_TEST_O := $(filter-out %/main.o,$(SANITIZED_MOKA_O))
$(B)/sanitized/%.o: %.c | $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(SANITIZED_CFLAGS) -MMD -MP -c $< -o $@
UNIT_TESTS += $(B)/tests/unit/launcher $(B)/tests/unit/rewrite
$(B)/tests/unit/launcher: $(patsubst %.c,$(B)/sanitized/%.o,tests/unit/launcher/test_launcher.c java-launcher/guest/conf.c java-launcher/guest/options.c)
$(B)/tests/unit/rewrite: $(B)/sanitized/tests/unit/launcher/test_rewrite.o
$(B)/tests/unit/launcher $(B)/tests/unit/rewrite: $(LAUNCHER_TEST_O)
$(B)/moka-sanitized: $(SANITIZED_MOKA_O)
$(B)/tests/unit/launcher $(B)/tests/unit/rewrite $(B)/moka-sanitized:
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(SANITIZED_CFLAGS) $^ -lz -lZydis -o $@
-include $(wildcard $(B)/sanitized/*/*/*.d $(B)/sanitized/*/*/*/*.d)

FS_TEST_C := $(addprefix kernel/fs/,iov.c dentry.c path.c inode.c xattr.c open.c namei.c file.c erofs.c memfs.c memfile.c mount.c volume.c lock.c)
UNIT_TESTS += $(B)/tests/unit/fs.sh
$(B)/tests/unit/fs: tests/unit/fs/test_fs.c tests/unit/fs/kernel_side.c $(FS_TEST_C) kernel/base/tree.c $(wildcard kernel/fs/*.h)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -Itests/unit/fs/shim $(HOST_TEST_CFLAGS) -fno-builtin-printf -pthread $(filter %.c,$^) -o $@
UNIT_TESTS += $(B)/tests/unit/p9
$(B)/tests/unit/p9: tests/unit/fs/test_p9.c tests/unit/fs/kernel_side.c kernel/fs/p9_proto.c kernel/fs/iov.c $(wildcard kernel/fs/*.h)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -Itests/unit/fs/shim $(HOST_TEST_CFLAGS) -fno-builtin-printf -pthread $(filter %.c,$^) -o $@
$(B)/tests/unit/fs.sh: $(B)/tests/unit/fs tests/unit/fs/run
	printf '#!/bin/sh\nexec tests/unit/fs/run $(B)/tests/unit/fs\n' > $@; chmod +x $@
# mm on a machine that tests/unit/mm/host.c plays: fake memory, an MMU with a TLB.
COMMA := ,
MM_TEST_CFLAGS := $(HOST_TEST_CFLAGS) -Itests/unit/mm/shim -Itests/unit/mm -mcx16 -fno-builtin -fno-strict-aliasing \
	-DHOST_BASE=0x200000000000UL -DHOST_PROGRAM_END=0x100000000000UL
UNIT_TESTS += $(B)/tests/unit/mm-phys $(B)/tests/unit/mm-vm $(B)/tests/unit/mm-smp $(B)/tests/unit/mm-smp-tsan
MM_TEST_O := $(patsubst %.c,$(B)/tests/unit-mm/%.o,tests/unit/mm/host.c $(wildcard mm/*/*.c))
$(B)/tests/unit-mm/%.o: %.c $(wildcard tests/unit/mm/*.h) $(wildcard mm/*/*.h)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -Itests/unit/mm/shim $(MM_TEST_CFLAGS) -c $< -o $@
$(B)/tests/unit/mm-%: $(B)/tests/unit-mm/tests/unit/mm/test_%.o $(MM_TEST_O)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(MM_TEST_CFLAGS) $^ -pthread -o $@
# ThreadSanitizer keeps other parts of the address space to itself.
$(B)/tests/unit/mm-smp-tsan: tests/unit/mm/test_smp.c tests/unit/mm/host.c tests/unit/mm/host.h $(wildcard mm/*/*.[ch])
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -Itests/unit/mm/shim $(subst address$(COMMA)undefined -fno-sanitize-recover=undefined,thread -Wno-tsan,$(MM_TEST_CFLAGS)) \
	  -UHOST_BASE -DHOST_BASE=0x6000000000UL -UHOST_PROGRAM_END -DHOST_PROGRAM_END=0x5000000000UL -no-pie $(filter %.c,$^) -pthread -o $@

# The scheduler: on simulated CPUs, its locks under ThreadSanitizer, its protocols by the model checker.
SCHED_TEST_DEPS := $(wildcard sched/*.h tests/unit/sched/*.h tests/unit/sched/shim/*/*/*/*.h)
UNIT_TESTS += $(B)/tests/unit/sched
$(B)/tests/unit/sched: tests/unit/sched/test_sched.c tests/unit/sched/simulator.c $(wildcard sched/*.c) kernel/base/tree.c $(SCHED_TEST_DEPS)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -Itests/unit/sched/shim $(filter-out -fsanitize=%,$(HOST_TEST_CFLAGS)) -Wno-clobbered -fsanitize=undefined -fno-strict-aliasing $(filter %.c,$^) -o $@
UNIT_TESTS += $(B)/tests/unit/sched-tsan
$(B)/tests/unit/sched-tsan: tests/unit/sched/test_locks.c $(addprefix sched/,mutex.c waitq.c futex.c) $(SCHED_TEST_DEPS)
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -Itests/unit/sched/shim $(filter-out -fsanitize=%,$(HOST_TEST_CFLAGS)) -fsanitize=thread -pthread $(filter %.c,$^) -o $@
UNIT_TESTS += $(B)/tests/model.sh
$(B)/tests/model.sh: tests/model/run $(wildcard tests/model/*.pml)
	@mkdir -p $(@D)
	printf '#!/bin/sh\nexec tests/model/run $(B)/tests/model\n' > $@; chmod +x $@

# ---- checks of structure and layout --------------------------------------------------------------------------------

check: $(B)/.deps
	tools/check-includes
	tools/check-style

# ---- benchmarks ----------------------------------------------------------------------------------------------------

PACKAGES += wrk libnetty-java

$(B)/benchmarks/boot/Boot.jar: benchmarks/boot/Boot.java $(B)/.deps
	@mkdir -p $(@D)/classes
	javac --release 17 -d $(@D)/classes $<
	jar --create --file $@ --main-class Boot -C $(@D)/classes .
$(B)/benchmarks/boot/idle: benchmarks/boot/idle.c $(B)/.deps
	@mkdir -p $(@D)
	musl-gcc -static -O2 -Wall -Wextra -Werror $< -o $@

$(B)/benchmarks/tsc: benchmarks/linux-guest/tsc.c $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -O2 -Wall -Wextra -Werror $< -o $@

$(B)/benchmarks/micro: benchmarks/micro/micro.c benchmarks/lib/bench.h $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -I. -static -O2 -pthread -Wall -Wextra -Werror $< -o $@

$(B)/benchmarks/parallel: benchmarks/memory/parallel.c $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -static -O2 -pthread -Wall -Wextra -Werror $< -o $@

$(B)/benchmarks/boot/entry: benchmarks/boot/entry.c $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -static -nostdlib -ffreestanding -fno-stack-protector -O2 -Wall -Wextra -Werror $< -o $@

$(B)/benchmarks/sched: benchmarks/sched/sched.c $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -static -O1 -pthread -Wall -Wextra -Werror -Wno-unused-parameter $< -o $@

$(B)/benchmarks/count.so: benchmarks/lib/count.c $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -shared -fPIC -fvisibility=hidden -O2 -Wall -Wextra -Werror $< -o $@

NETTY_JARS := $(patsubst %,/usr/share/java/netty-%.jar,buffer codec codec-http common handler resolver transport)
SPACE := $(subst ,, )
BENCH_JARS := $(addprefix $(B)/benchmarks/,net/HttpSmall.jar net/NettySmall.jar locks/Monitors.jar java/Kernels.jar)
$(BENCH_JARS): $(B)/benchmarks/%.jar: benchmarks/%.java $(B)/.deps
	@mkdir -p $(B)/benchmarks/$*
	@$(JDK)/bin/javac --release 17 -cp $(subst $(SPACE),:,$(NETTY_JARS)) -d $(B)/benchmarks/$* $<
	$(call say,JAR)$(JDK)/bin/jar --create --file $@ --main-class $(*F) -C $(B)/benchmarks/$* .
BENCH_PROGRAMS := $(addprefix $(B)/benchmarks/,net/server net/client net/loopback locks/maps locks/ring)
$(BENCH_PROGRAMS): $(B)/benchmarks/%: benchmarks/%.c benchmarks/lib/bench.h $(B)/.deps
	@mkdir -p $(@D)
	$(call say,CC)$(CC) -I. -static -O1 -pthread -Wall -Wextra -Werror -Wno-unused-parameter $< -o $@

.PHONY: bench-built
bench-built: all $(BENCH_JARS) $(BENCH_PROGRAMS) $(B)/benchmarks/count.so $(B)/benchmarks/tsc $(B)/benchmarks/boot/Boot.jar $(B)/benchmarks/boot/entry $(B)/benchmarks/boot/idle $(B)/benchmarks/micro $(B)/benchmarks/parallel $(B)/benchmarks/sched

bench: bench-built
	benchmarks/boot/run
	benchmarks/micro/run
	benchmarks/memory/run
	benchmarks/sched/run
	benchmarks/net/run
	benchmarks/net/outside
	benchmarks/locks/run
	benchmarks/java/run
	benchmarks/java/run --cpus 2

include tests/tests.mk
