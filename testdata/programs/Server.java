// SPDX-License-Identifier: Apache-2.0
// The web server of webserver.py, in Java: java Server.java PORT. Beside it threads fill the heap, so that the collector
// has work, hand their blocks on to each other, and check what they get.
import com.sun.net.httpserver.HttpServer;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.util.ArrayDeque;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import java.util.zip.CRC32;

public class Server {
    static final int THREADS = 3, KEPT = 400, LARGEST = 16 << 10;
    static volatile boolean ending;
    static volatile String differs;

    record Block(byte[] bytes, long sum, long number) {}

    static long sumOf(byte[] bytes) {
        CRC32 sum = new CRC32();
        sum.update(bytes);
        return sum.getValue();
    }

    static void verify(Block block, long number) {
        if (block.number != number || sumOf(block.bytes) != block.sum) {
            differs = "block " + block.number + ", expected " + number;
        }
    }

    /** Makes blocks, keeps the last ones, checks each and hands it on when it is the oldest. */
    static void fill(int seed, BlockingQueue<Block> next) {
        Random random = new Random(seed);
        ArrayDeque<Block> kept = new ArrayDeque<>();
        try {
            for (long made = 0; !ending; made++) {
                byte[] bytes = new byte[1 + random.nextInt(LARGEST)];
                random.nextBytes(bytes);
                kept.add(new Block(bytes, sumOf(bytes), made));
                if (kept.size() > KEPT) {
                    verify(kept.peek(), made - KEPT);
                    next.put(kept.remove());
                }
            }
            next.put(new Block(null, 0, -1));
        } catch (InterruptedException e) {
            differs = "interrupted";
        }
    }

    /** Checks what another thread hands on: each block once, in order. */
    static void check(BlockingQueue<Block> from) {
        try {
            Block block;
            for (long number = 0; (block = from.take()).number >= 0; number++) {
                verify(block, number);
            }
        } catch (InterruptedException e) {
            differs = "interrupted";
        }
    }

    public static void main(String[] args) throws Exception {
        Map<String, Integer> counts = new ConcurrentHashMap<>();
        HttpServer server = HttpServer.create(
            new InetSocketAddress(InetAddress.getByName("127.0.0.1"), Integer.parseInt(args[0])), 16);
        server.createContext("/", request -> {
            String client = request.getRequestURI().getPath().split("/")[1];
            byte[] body = String.valueOf(counts.merge(client, 1, Integer::sum)).getBytes();
            request.sendResponseHeaders(200, body.length);
            try (OutputStream out = request.getResponseBody()) {
                out.write(body);
            }
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        Thread[] threads = new Thread[2 * THREADS];
        for (int i = 0; i < THREADS; i++) {
            int seed = i;
            BlockingQueue<Block> queue = new ArrayBlockingQueue<>(8);
            threads[2 * i] = new Thread(() -> fill(seed, queue));
            threads[2 * i + 1] = new Thread(() -> check(queue));
        }
        for (Thread thread : threads) {
            thread.start();
        }
        Runtime.getRuntime().addShutdownHook(new Thread(() -> end(server, threads))); // SIGTERM
        server.start();
    }

    static void end(HttpServer server, Thread[] threads) {
        server.stop(0);
        ending = true;
        try {
            for (Thread thread : threads) {
                thread.join();
            }
        } catch (InterruptedException e) {
            differs = "interrupted";
        }
        if (differs != null) {
            System.out.println("DIFFERS " + differs);
        }
        Runtime.getRuntime().halt(differs == null ? 0 : 1);
    }
}
