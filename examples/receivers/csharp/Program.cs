// A receiver of signed webhooks, with nothing but ASP.NET Core.
//
//     PORT=8080 WEBHOOK_SECRET=whsec_… dotnet run

using System.Collections.Concurrent;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

const int ToleranceS = 5 * 60;

static bool IsSigned(IHeaderDictionary headers, byte[] body, byte[] key)
{
    var id = headers["webhook-id"].ToString();
    var timestamp = headers["webhook-timestamp"].ToString();
    var digits = NumberStyles.None;
    if (id == "" || !long.TryParse(timestamp, digits, CultureInfo.InvariantCulture, out var sentS))
        return false;
    if (Math.Abs(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - sentS) > ToleranceS) return false;
    byte[] signed = [.. Encoding.UTF8.GetBytes($"{id}.{timestamp}."), .. body];
    var expected = "v1," + Convert.ToBase64String(HMACSHA256.HashData(key, signed));
    // One for each of the sender's secrets. == would allow timing attacks.
    return headers["webhook-signature"].ToString().Split(' ').Any(signature =>
        CryptographicOperations.FixedTimeEquals(
            Encoding.UTF8.GetBytes(signature), Encoding.UTF8.GetBytes(expected)));
}

// The key that the webhook is about, as JSON; null when the body is none that is understood here.
static string? KeyIn(byte[] body)
{
    try
    {
        using var webhook = JsonDocument.Parse(body);
        return webhook.RootElement is { ValueKind: JsonValueKind.Object } root
            && root.TryGetProperty("data", out var data) && data.ValueKind == JsonValueKind.Object
            && data.TryGetProperty("key", out var key) && key.ValueKind == JsonValueKind.String
            ? key.GetRawText()
            : null;
    }
    catch (JsonException)
    {
        return null;
    }
}

var secret = Environment.GetEnvironmentVariable("WEBHOOK_SECRET") ?? "";
var key = Convert.FromBase64String(secret.Replace("whsec_", ""));
if (key.Length < 24)
    throw new ArgumentException("WEBHOOK_SECRET: expected whsec_ and 24 to 64 bytes in base64");

// An application keeps them in a table, written in one transaction with the work: then neither is
// there without the other.
var ids = new ConcurrentDictionary<string, bool>();

var builder = WebApplication.CreateBuilder(args);
builder.Logging.SetMinimumLevel(LogLevel.Warning);
var app = builder.Build();

app.MapPost("/{**path}", async (HttpRequest request) =>
{
    // The raw body: a parameter of the webhook's type would be read from JSON, not verifiable.
    using var buffer = new MemoryStream();
    await request.Body.CopyToAsync(buffer);
    var body = buffer.ToArray();
    if (!IsSigned(request.Headers, body, key)) return Results.Unauthorized();

    var id = request.Headers["webhook-id"].ToString();
    var name = KeyIn(body);
    if (name is null)
    {
        // A route with a custom body. The id is not kept, so that a retry can succeed.
        Console.Error.WriteLine($"{id}: expected JSON with data.key");
        return Results.BadRequest();
    }
    // As JSON: a key may hold a line break.
    Console.WriteLine($"{id} {(ids.TryAdd(id, true) ? name : "repeat")}");
    return Results.NoContent();
});

app.Run($"http://127.0.0.1:{Environment.GetEnvironmentVariable("PORT")}");
