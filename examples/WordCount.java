import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Counts words: of standard input, or of every file below the directories named. Try it with a volume:
 *
 * <pre>moka run -v .:/work:ro build/examples/WordCount.jar /work</pre>
 */
public class WordCount {
    private static final Pattern WORD = Pattern.compile("[\\p{L}_][\\p{L}\\p{N}_]*");
    private static final int SHOWN = 10;

    public static void main(String[] args) throws IOException {
        Map<String, Integer> counts = new ConcurrentHashMap<>();
        if (args.length == 0) {
            var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
            in.lines().forEach(line -> count(line, counts));
        }
        for (String arg : args)
            countBelow(Path.of(arg), counts);
        print(counts);
    }

    private static void countBelow(Path top, Map<String, Integer> counts) throws IOException {
        try (Stream<Path> files = Files.walk(top)) {
            files.filter(Files::isRegularFile).parallel().forEach(file -> {
                try {
                    count(Files.readString(file), counts);
                } catch (IOException notText) {
                    System.err.println("left out: " + file);
                }
            });
        }
    }

    private static void count(String text, Map<String, Integer> counts) {
        WORD.matcher(text).results().forEach(word -> counts.merge(word.group(), 1, Integer::sum));
    }

    private static void print(Map<String, Integer> counts) {
        var out = new PrintWriter(System.out, true, StandardCharsets.UTF_8);
        Comparator<Map.Entry<String, Integer>> most = Map.Entry.comparingByValue(Comparator.reverseOrder());
        new TreeMap<>(counts).entrySet().stream().sorted(most).limit(SHOWN)
                .forEach(e -> out.printf("%7d %s%n", e.getValue(), e.getKey()));
    }
}
