# ---- tests: what tests/run needs; it builds that itself (`make tests-built`) ------------------------------------------

PACKAGES += liblz4-java libjna-java libjna-jni libtomcat10-embed-java libnetty-java wrk curl iproute2

ABI_C := $(wildcard tests/abi/*.c)
ABI_CFLAGS := -std=gnu17 -D_GNU_SOURCE -O1 -g -Wall -Wextra -Werror -Wno-unused-parameter -Wno-sign-compare \
	-Wno-unused-result -Wno-nonnull -Wno-stringop-overflow -Wno-stringop-overread -Wno-array-bounds
# Behind musl's own: the kernel's headers, which it has not.
KERNEL_HEADERS := -idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu
ABI_PROGRAMS := $(B)/tests/abi-musl $(B)/tests/abi-glibc

$(B)/tests/abi/musl/%.o: tests/abi/%.c $(wildcard tests/abi/*.h) | $(B)/.deps
	@mkdir -p $(@D)
	musl-gcc $(ABI_CFLAGS) $(KERNEL_HEADERS) -c $< -o $@
$(B)/tests/abi/glibc/%.o: tests/abi/%.c $(wildcard tests/abi/*.h) | $(B)/.deps
	@mkdir -p $(@D)
	$(CC) $(ABI_CFLAGS) -c $< -o $@
$(B)/tests/abi-musl: $(ABI_C:tests/abi/%.c=$(B)/tests/abi/musl/%.o)
	musl-gcc -static -o $@ $^ -pthread
$(B)/tests/abi-glibc: $(ABI_C:tests/abi/%.c=$(B)/tests/abi/glibc/%.o)
	$(CC) -o $@ $^ -pthread

space := $(subst ,, )
JAVA_GROUPS := hello gc errors threads files tools jni net servers netout huge
JAVA_JARS := $(JAVA_GROUPS:%=$(B)/tests/java/%.jar)
JNI_CLASSPATH := /usr/share/java/jna.jar:/usr/share/java/lz4-java.jar
NET_CLASSPATH := /usr/share/java/tomcat10-embed-core.jar:/usr/share/java/netty-all.jar:$(subst $(space),:,$(foreach j,buffer codec codec-http common handler resolver transport,/usr/share/java/netty-$(j).jar))

.SECONDEXPANSION:
$(B)/tests/java/%.jar: $$(wildcard tests/java/%/*.java) tests/java/lib/Suite.java | $(B)/.deps
	@rm -rf $(B)/tests/java/$*.classes && mkdir -p $(B)/tests/java/$*.classes
	$(JDK)/bin/javac -nowarn -XDignore.symbol.file -Xlint:none -cp $(JNI_CLASSPATH):$(NET_CLASSPATH) -d $(B)/tests/java/$*.classes $^
	$(JDK)/bin/jar --create --file $@ --main-class Main -C $(B)/tests/java/$*.classes .

BOOT_PROGRAMS := $(B)/tests/sched
$(B)/tests/sched: tests/boot/sched.c | $(B)/.deps
	@mkdir -p $(@D)
	musl-gcc -static -O1 -Wall -Wextra -Werror $< -o $@ -pthread

NET_PROGRAMS := $(B)/tests/netd $(B)/tests/udpd $(B)/tests/wire
$(B)/tests/netd $(B)/tests/udpd: $(B)/tests/%: tests/boot/%.c | $(B)/.deps
	@mkdir -p $(@D)
	musl-gcc -static -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o $@ $< -pthread
$(B)/tests/wire: tests/boot/wire.c | $(B)/.deps
	@mkdir -p $(@D)
	$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -o $@ $<

.PHONY: tests-built tests-host-built unit-tests
unit-tests: $(UNIT_TESTS)
tests-host-built: unit-tests $(ABI_PROGRAMS) $(BOOT_PROGRAMS) $(NET_PROGRAMS) $(JAVA_JARS) $(MOKA) $(LAUNCHER) $(EXAMPLES)
tests-built: all tests-host-built

test: $(B)/.deps
	tests/run
