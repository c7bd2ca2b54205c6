import java.io.File;
import java.io.FileInputStream;
import java.io.FileNotFoundException;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.DirectoryNotEmptyException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.StandardWatchEventKinds;
import java.nio.file.WatchEvent;
import java.nio.file.WatchKey;
import java.nio.file.WatchService;
import java.nio.file.attribute.BasicFileAttributes;
import java.nio.file.attribute.FileTime;
import java.nio.file.attribute.PosixFilePermissions;
import java.nio.file.attribute.UserDefinedFileAttributeView;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.jar.JarOutputStream;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;

/** Files and directories below the directory that the property `dir` names. */
public final class Main {
    private static final Path TOP = Paths.get(System.getProperty("dir", System.getProperty("java.io.tmpdir")));
    private static Path dir; /* of the case that runs: fresh, and removed after it */

    private static void createAppendDelete() throws Exception {
        Path f = dir.resolve("file");
        Files.writeString(f, "one\n");
        Files.writeString(f, "two\n", StandardOpenOption.APPEND);
        Suite.equal(List.of("one", "two"), Files.readAllLines(f), "lines");
        Suite.thrown(FileAlreadyExistsException.class, () -> Files.createFile(f));
        Suite.equal(8L, Files.size(f), "size");
        Files.move(f, dir.resolve("other"));
        Suite.check(Files.notExists(f) && Files.exists(dir.resolve("other")), "moved");
        Files.copy(dir.resolve("other"), f);
        Suite.thrown(FileAlreadyExistsException.class, () -> Files.copy(f, dir.resolve("other")));
        Files.copy(f, dir.resolve("other"), StandardCopyOption.REPLACE_EXISTING);
        Suite.equal(-1L, Files.mismatch(f, dir.resolve("other")), "the copy is the same");
        Files.move(f, dir.resolve("other"), StandardCopyOption.ATOMIC_MOVE);
        Files.delete(dir.resolve("other"));
        Suite.thrown(NoSuchFileException.class, () -> Files.delete(f));
        Suite.thrown(FileNotFoundException.class, () -> new FileInputStream(f.toFile()).close());
        Suite.thrown(FileNotFoundException.class, () -> new FileOutputStream(dir.toFile()).close());
        Files.createDirectories(dir.resolve("a/b/c"));
        Suite.thrown(DirectoryNotEmptyException.class, () -> Files.delete(dir.resolve("a")));
        Suite.thrown(DirectoryNotEmptyException.class,
            () -> Files.move(Files.createDirectory(dir.resolve("z")), dir.resolve("a"), StandardCopyOption.REPLACE_EXISTING));
        Suite.check(!new File(dir.toFile(), "missing").renameTo(f.toFile()), "renaming nothing");
    }

    private static void walk() throws Exception {
        int wide = 100, deep = 100;
        for (int i = 0; i < wide; i++) {
            Path d = Files.createDirectory(dir.resolve("d" + i));
            for (int j = 0; j < deep - 1; j++)
                Files.createFile(d.resolve("f" + j));
        }
        try (Stream<Path> all = Files.walk(dir)) {
            Suite.equal((long) wide * deep + 1, all.count(), "entries");
        }
        Suite.equal(wide, new TreeSet<>(List.of(dir.toFile().list())).size(), "no name twice");
        int[] deleted = new int[1];
        Files.walkFileTree(dir, new SimpleFileVisitor<>() {
            @Override
            public FileVisitResult visitFile(Path f, BasicFileAttributes a) throws IOException {
                Files.delete(f);
                deleted[0]++;
                return FileVisitResult.CONTINUE;
            }
        });
        Suite.equal(wide * (deep - 1), deleted[0], "deleted while walking");
    }

    private static void randomAccess() throws Exception {
        try (RandomAccessFile f = new RandomAccessFile(dir.resolve("file").toFile(), "rw")) {
            f.setLength(1 << 20);
            f.seek(500_000);
            f.writeLong(0x1122334455667788L);
            f.writeUTF("text");
            f.seek(500_004);
            Suite.equal(0x55667788, f.readInt(), "half");
            Suite.equal("text", f.readUTF(), "text");
            f.setLength(500_003);
            Suite.equal(500_003L, f.length(), "length");
            f.seek(f.length());
            Suite.equal(-1, f.read(), "end");
            f.getFD().sync();
            Suite.thrown(IOException.class, () -> f.seek(-1));
        }
        try (RandomAccessFile f = new RandomAccessFile(dir.resolve("file").toFile(), "r")) {
            Suite.thrown(IOException.class, () -> f.write(1));
        }
    }

    private static void channels() throws Exception {
        Path a = dir.resolve("a"), b = dir.resolve("b");
        try (FileChannel c = FileChannel.open(a, StandardOpenOption.CREATE_NEW, StandardOpenOption.READ, StandardOpenOption.WRITE);
             FileChannel d = FileChannel.open(b, StandardOpenOption.CREATE, StandardOpenOption.WRITE)) {
            ByteBuffer[] parts = { ByteBuffer.wrap("gather ".getBytes()), ByteBuffer.allocateDirect(6).put("writes".getBytes()).flip() };
            Suite.equal(13L, c.write(parts), "gathered");
            c.write(ByteBuffer.wrap("G".getBytes()), 0);
            Suite.equal(13L, c.transferTo(0, 100, d), "transferred");
            c.truncate(6);
            Suite.equal(6L, c.size(), "truncated");
            c.force(true);
            Suite.equal(0L, d.position() - 13, "position");
        }
        Suite.equal("Gather writes", Files.readString(b), "content");
        try (FileChannel d = FileChannel.open(b, StandardOpenOption.APPEND); FileChannel c = FileChannel.open(a)) {
            Suite.equal(6L, d.transferFrom(c, 13, 100), "transferred from");
        }
        Suite.equal("Gather writesGather", Files.readString(b), "content");
        try (FileChannel c = FileChannel.open(dir.resolve("gone"), StandardOpenOption.CREATE, StandardOpenOption.WRITE,
                 StandardOpenOption.DELETE_ON_CLOSE)) {
            c.write(ByteBuffer.allocate(10));
        }
        Suite.check(Files.notExists(dir.resolve("gone")), "deleted on close");
    }

    private static void mappings() throws Exception {
        Path f = dir.resolve("file");
        try (FileChannel c = FileChannel.open(f, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            MappedByteBuffer m = c.map(FileChannel.MapMode.READ_WRITE, 0, 3_000_000);
            for (int i = 0; i < 3_000_000; i += 1000)
                m.put(i, (byte) (i / 1000));
            m.force();
            ByteBuffer one = ByteBuffer.allocate(1);
            for (int i = 0; i < 3_000_000; i += 100_000) {
                one.clear();
                c.read(one, i);
                Suite.equal((byte) (i / 1000), one.get(0), "written through the mapping");
            }
            c.write(ByteBuffer.wrap(new byte[] { 99 }), 12_345);
            Suite.equal((byte) 99, m.get(12_345), "written to the file");
            MappedByteBuffer p = c.map(FileChannel.MapMode.PRIVATE, 0, 3_000_000);
            p.put(1000, (byte) 55);
            Suite.equal((byte) 1, m.get(1000), "a private write stays private");
            Suite.equal((byte) 55, p.get(1000), "and is kept");
            MappedByteBuffer r = c.map(FileChannel.MapMode.READ_ONLY, 4096, 1_000_000);
            Suite.equal(m.get(10_000), r.get(10_000 - 4096), "read-only, from the second page on");
            Suite.thrown(java.nio.ReadOnlyBufferException.class, () -> r.put(0, (byte) 1));
            Suite.equal(3_000_000L, c.size(), "size");
        }
        byte[] all = Files.readAllBytes(f);
        Suite.equal((byte) 99, all[12_345], "after closing");
    }

    private static void locks() throws Exception {
        Path f = dir.resolve("file");
        try (FileChannel a = FileChannel.open(f, StandardOpenOption.CREATE, StandardOpenOption.READ, StandardOpenOption.WRITE);
             FileChannel b = FileChannel.open(f, StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            FileLock l = a.lock(0, 10, false);
            Suite.check(l.isValid() && !l.isShared(), "exclusive");
            Suite.thrown(OverlappingFileLockException.class, () -> b.tryLock(5, 1, false));
            FileLock other = b.tryLock(10, 10, true);
            Suite.check(other != null && other.isShared(), "shared, beside it");
            l.release();
            Suite.check(b.tryLock(0, 5, false) != null, "after release");
        }
    }

    private static void attributes() throws Exception {
        Path f = Files.createFile(dir.resolve("file"));
        FileTime then = FileTime.fromMillis(1_234_567_890_123L);
        Files.setLastModifiedTime(f, then);
        Suite.equal(then, Files.getLastModifiedTime(f), "time");
        Files.setPosixFilePermissions(f, PosixFilePermissions.fromString("rwxr-x--x"));
        Suite.equal("rwxr-x--x", PosixFilePermissions.toString(Files.getPosixFilePermissions(f)), "permissions");
        Suite.check(Files.isExecutable(f) && Files.isReadable(f) && Files.isWritable(f), "accessible");
        Map<String, Object> all = Files.readAttributes(f, "unix:*");
        Suite.equal(1, all.get("nlink"), "links");
        Suite.check(Files.getOwner(f) != null && all.get("ino") != null, "owner");
        BasicFileAttributes a = Files.readAttributes(dir, BasicFileAttributes.class);
        Suite.check(a.isDirectory() && !a.isRegularFile() && a.fileKey() != null, "a directory");
        Suite.check(Files.getFileStore(f).getTotalSpace() > 0, "space");
        Suite.check(Files.isHidden(dir.resolve(".x")), "hidden");
        File old = f.toFile();
        Suite.check(old.setReadOnly() && old.setLastModified(5000) && old.lastModified() == 5000, "the old interface");
    }

    /** Attributes of one's own: kept in memory; of a volume the JDK says that it has none, and finds none. */
    private static void ownAttributes() throws Exception {
        Path f = Files.writeString(dir.resolve("file"), "text");
        UserDefinedFileAttributeView own = Files.getFileAttributeView(f, UserDefinedFileAttributeView.class);
        boolean kept = Files.getFileStore(f).supportsFileAttributeView(UserDefinedFileAttributeView.class);
        Suite.equal(!dir.startsWith("/vol"), kept, "kept here");
        Suite.equal(List.of(), own.list(), "none at first");
        if (!kept) {
            Suite.thrown(IOException.class, () -> own.write("kind", ByteBuffer.wrap(new byte[1])));
            return;
        }
        Suite.equal(5, own.write("kind", ByteBuffer.wrap("a/b;c".getBytes())), "written");
        Suite.equal(List.of("kind"), own.list(), "listed");
        Path copy = Files.copy(f, dir.resolve("copy"), StandardCopyOption.COPY_ATTRIBUTES);
        Suite.equal("a/b;c", new String((byte[]) Files.getAttribute(copy, "user:kind")), "copied");
        own.delete("kind");
        Suite.thrown(IOException.class, () -> own.size("kind"));
        Files.setAttribute(f, "dos:hidden", true);
        Suite.equal(true, Files.getAttribute(f, "dos:hidden"), "as Samba keeps them");
    }

    private static void links() throws Exception {
        Path f = Files.writeString(dir.resolve("file"), "text");
        Path s = Files.createSymbolicLink(dir.resolve("soft"), Paths.get("file"));
        Suite.equal("text", Files.readString(s), "through the link");
        Suite.equal("file", Files.readSymbolicLink(s).toString(), "target");
        Suite.check(Files.isSymbolicLink(s) && Files.isSameFile(s, f), "same file");
        Suite.equal(f.toRealPath(), s.toRealPath(), "real path");
        Path h = Files.createLink(dir.resolve("hard"), f);
        Files.writeString(h, "changed");
        Suite.equal("changed", Files.readString(f), "through the hard link");
        Files.delete(f);
        Suite.check(!Files.exists(s) && Files.exists(h), "the soft one dangles, the hard one does not");
        Suite.thrown(IOException.class, () -> Files.readString(Files.createSymbolicLink(dir.resolve("x"), Paths.get("x"))));
    }

    private static void temporary() throws Exception {
        TreeSet<Path> all = new TreeSet<>();
        for (int i = 0; i < 100; i++)
            all.add(Files.createTempFile(dir, "t", ".tmp"));
        Suite.equal(100, all.size(), "all different");
        File f = File.createTempFile("moka", null);
        Suite.check(f.exists() && f.delete(), "in the default place");
        Path d = Files.createTempDirectory("moka");
        Suite.equal("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(d)), "private");
        Files.delete(d);
    }

    /** Waits for the event of the kind for the name; others may come before it. */
    private static void expect(WatchService w, WatchEvent.Kind<?> kind, String name) throws Exception {
        for (long end = System.nanoTime() + 30_000_000_000L; System.nanoTime() < end;) {
            WatchKey k = w.poll(1, TimeUnit.SECONDS);
            if (k == null)
                continue;
            boolean found = false;
            for (WatchEvent<?> e : k.pollEvents())
                found |= e.kind() == kind && name.equals(String.valueOf(e.context()));
            k.reset();
            if (found)
                return;
        }
        throw new AssertionError("no " + kind + " of " + name);
    }

    private static void watching() throws Exception {
        try (WatchService w = FileSystems.getDefault().newWatchService()) {
            dir.register(w, StandardWatchEventKinds.ENTRY_CREATE, StandardWatchEventKinds.ENTRY_DELETE,
                StandardWatchEventKinds.ENTRY_MODIFY);
            Path f = Files.createFile(dir.resolve("new"));
            expect(w, StandardWatchEventKinds.ENTRY_CREATE, "new");
            Files.writeString(f, "text");
            expect(w, StandardWatchEventKinds.ENTRY_MODIFY, "new");
            Files.move(f, dir.resolve("renamed"));
            expect(w, StandardWatchEventKinds.ENTRY_CREATE, "renamed");
            Files.delete(dir.resolve("renamed"));
            expect(w, StandardWatchEventKinds.ENTRY_DELETE, "renamed");
            Suite.equal(null, w.poll(10, TimeUnit.MILLISECONDS), "nothing more");
        }
    }

    private static void archives() throws Exception {
        Path z = dir.resolve("a.zip");
        byte[] load = new byte[300_000];
        for (int i = 0; i < load.length; i++)
            load[i] = (byte) (i * i >> 5);
        try (ZipOutputStream out = new ZipOutputStream(Files.newOutputStream(z))) {
            for (int i = 0; i < 20; i++) {
                out.putNextEntry(new ZipEntry("dir/entry" + i));
                out.write(load, i * 1000, 100_000);
            }
        }
        try (ZipFile in = new ZipFile(z.toFile())) {
            Suite.equal(20, in.size(), "entries");
            byte[] got = in.getInputStream(in.getEntry("dir/entry7")).readAllBytes();
            Suite.check(java.util.Arrays.equals(got, java.util.Arrays.copyOfRange(load, 7000, 107_000)), "content");
        }
        int n = 0;
        try (ZipInputStream in = new ZipInputStream(Files.newInputStream(z))) {
            for (ZipEntry e; (e = in.getNextEntry()) != null; n++)
                in.readAllBytes();
        }
        Suite.equal(20, n, "as a stream");
        Path j = dir.resolve("a.jar");
        try (JarOutputStream out = new JarOutputStream(Files.newOutputStream(j), new java.util.jar.Manifest(
                 new java.io.ByteArrayInputStream("Manifest-Version: 1.0\nMain-Class: X\n".getBytes())))) {
            out.putNextEntry(new JarEntry("x"));
        }
        try (JarFile in = new JarFile(j.toFile())) {
            Suite.equal("X", in.getManifest().getMainAttributes().getValue("Main-Class"), "manifest");
        }
        try (FileSystem fs = FileSystems.newFileSystem(z)) {
            Suite.equal(100_000L, Files.size(fs.getPath("/dir/entry3")), "as a file system");
            Files.writeString(fs.getPath("/added"), "text");
        }
        try (ZipFile in = new ZipFile(z.toFile())) {
            Suite.equal(21, in.size(), "added");
        }
    }

    private static void inParallel() throws Exception {
        Suite.threads(4, me -> {
            try {
                for (int i = 0; i < 50; i++) {
                    Path f = dir.resolve("t" + me + "-" + i);
                    Files.write(f, new byte[5000 + i]);
                    Suite.equal(5000L + i, Files.size(f), "size");
                    if (i % 2 == 0)
                        Files.delete(f);
                }
            } catch (IOException e) {
                throw new AssertionError(e);
            }
        });
        Suite.equal(100, dir.toFile().list().length, "left");
    }

    private static void bigFile() throws Exception {
        Path f = dir.resolve("big");
        byte[] block = new byte[1 << 20];
        try (FileOutputStream out = new FileOutputStream(f.toFile())) {
            for (int i = 0; i < 16; i++) {
                java.util.Arrays.fill(block, (byte) i);
                out.write(block);
            }
            out.getFD().sync();
        }
        try (FileInputStream in = new FileInputStream(f.toFile())) {
            for (int i = 0; i < 16; i++) {
                Suite.equal(1 << 20, in.readNBytes(block, 0, block.length), "a block");
                Suite.check(block[0] == i && block[block.length - 1] == i, "its content");
            }
            Suite.equal(-1, in.read(), "the end");
        }
    }

    /** For volumes: the host looks at what this leaves behind, and this at what the host had put there. */
    private static void leaveBehind() throws Exception {
        Suite.equal("from the host\n", Files.readString(TOP.resolve("given")), "the host's file");
        try (FileOutputStream out = new FileOutputStream(TOP.resolve("left").toFile())) {
            out.write("from the guest\n".getBytes());
            out.getFD().sync();
        }
        Files.createDirectories(TOP.resolve("left-dir/sub"));
    }

    private static void readOnly() throws Exception {
        Suite.equal("from the host\n", Files.readString(TOP.resolve("given")), "the host's file");
        Suite.thrown(IOException.class, () -> Files.writeString(TOP.resolve("new"), "x"));
        Suite.thrown(IOException.class, () -> Files.delete(TOP.resolve("given")));
        Suite.thrown(IOException.class, () -> Files.writeString(TOP.resolve("given"), "x"));
    }

    private static Suite.Body in(String name, Suite.Body body) {
        return () -> {
            dir = Files.createDirectories(TOP.resolve("case-" + name));
            try {
                body.run();
            } finally {
                List<Path> all = new ArrayList<>();
                try (Stream<Path> s = Files.walk(dir)) {
                    s.forEach(all::add);
                }
                for (int i = all.size() - 1; i >= 0; i--)
                    Files.delete(all.get(i));
            }
        };
    }

    public static void main(String[] args) {
        Suite suite = new Suite();
        if (args.length > 0 && args[0].equals("leave-behind"))
            suite.add("leave-behind", Main::leaveBehind);
        else if (args.length > 0 && args[0].equals("read-only"))
            suite.add("read-only", Main::readOnly);
        else
            suite.add("create-append-delete", in("c", Main::createAppendDelete))
                .add("walk", in("w", Main::walk))
                .add("random-access", in("r", Main::randomAccess))
                .add("channels", in("ch", Main::channels))
                .add("mappings", in("m", Main::mappings))
                .add("locks", in("l", Main::locks))
                .add("attributes", in("a", Main::attributes))
                .add("own-attributes", in("o", Main::ownAttributes))
                .add("links", in("li", Main::links))
                .add("temporary", in("t", Main::temporary))
                .add("watching", in("wa", Main::watching))
                .add("archives", in("z", Main::archives))
                .add("in-parallel", in("p", Main::inParallel))
                .add("big-file", in("b", Main::bigFile));
        suite.run(args);
    }
}
