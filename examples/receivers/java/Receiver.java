import static java.nio.charset.StandardCharsets.UTF_8;

import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.Executors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * A receiver of signed webhooks, with nothing but the JDK, and Gson to read the key from the JSON.
 *
 * <pre>
 * PORT=8080 WEBHOOK_SECRET=whsec_… java --class-path /usr/share/java/gson.jar Receiver.java
 * </pre>
 */
public final class Receiver {
    private static final int TOLERANCE_S = 5 * 60;

    /**
     * An application keeps them in a table, written in one transaction with the work: then neither
     * is there without the other.
     */
    private static final Set<String> IDS = ConcurrentHashMap.newKeySet();

    static boolean isSigned(
            String id, String timestamp, String signatures, byte[] body, SecretKeySpec key)
            throws GeneralSecurityException {
        if (id == null || id.isEmpty() || signatures == null) return false;
        if (timestamp == null || !timestamp.matches("[0-9]{1,18}")) return false;
        long ageS = System.currentTimeMillis() / 1000 - Long.parseLong(timestamp);
        if (Math.abs(ageS) > TOLERANCE_S) return false;
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(key);
        mac.update((id + "." + timestamp + ".").getBytes(UTF_8));
        String expected = "v1," + Base64.getEncoder().encodeToString(mac.doFinal(body));
        byte[] expectedBytes = expected.getBytes(UTF_8);
        // One for each of the sender's secrets. equals() would allow timing attacks.
        for (String signature : signatures.split(" ")) {
            if (MessageDigest.isEqual(signature.getBytes(UTF_8), expectedBytes)) return true;
        }
        return false;
    }

    /** The key that the webhook is about; null when the body is none that is understood here. */
    static JsonPrimitive keyIn(byte[] body) {
        try {
            return JsonParser.parseString(new String(body, UTF_8)) instanceof JsonObject webhook
                            && webhook.get("data") instanceof JsonObject data
                            && data.get("key") instanceof JsonPrimitive key
                            && key.isString()
                    ? key
                    : null;
        } catch (JsonParseException otherwise) {
            return null;
        }
    }

    static int receive(HttpExchange exchange, SecretKeySpec key)
            throws IOException, GeneralSecurityException {
        // The raw body: what a JSON library reads and writes again has another signature.
        byte[] body = exchange.getRequestBody().readAllBytes();
        var headers = exchange.getRequestHeaders();
        String id = headers.getFirst("webhook-id");
        String timestamp = headers.getFirst("webhook-timestamp");
        if (!isSigned(id, timestamp, headers.getFirst("webhook-signature"), body, key)) return 401;
        JsonPrimitive name = keyIn(body);
        if (name == null) {
            // A route with a custom body. The id is not kept, so that a retry can succeed.
            System.err.println(id + ": expected JSON with data.key");
            return 400;
        }
        // As JSON, which is how a primitive prints: a key may hold a line break.
        System.out.println(id + " " + (IDS.add(id) ? name : "repeat"));
        return 204;
    }

    public static void main(String[] args) throws IOException {
        byte[] secret = Base64.getDecoder()
                .decode(System.getenv("WEBHOOK_SECRET").replaceFirst("^whsec_", ""));
        if (secret.length < 24) {
            throw new IllegalArgumentException(
                    "WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64");
        }
        var key = new SecretKeySpec(secret, "HmacSHA256");
        int port = Integer.parseInt(System.getenv("PORT"));
        var server = HttpServer.create(new InetSocketAddress("127.0.0.1", port), 0);
        server.setExecutor(Executors.newFixedThreadPool(8));
        server.createContext("/", exchange -> {
            int status = 500; // the webhook comes again
            try {
                status = receive(exchange, key);
            } catch (GeneralSecurityException | RuntimeException trouble) {
                trouble.printStackTrace();
            } finally {
                exchange.sendResponseHeaders(status, -1);
                exchange.close();
            }
        });
        server.start();
    }
}
