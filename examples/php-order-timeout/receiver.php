<?php

/**
 * Cancels the order of each webhook, unless it is paid:
 *
 *     php -S 127.0.0.1:8080 receiver.php
 *
 * The same file works behind php-fpm or Apache.
 */

declare(strict_types=1);

require __DIR__ . '/connections.php';

/** How far the sender's clock may be from ours: an old webhook cannot be played back for ever. */
const TOLERANCE_S = 5 * 60;

/**
 * Whether the holder of one of our secrets has signed this very body, just now. WEBHOOK_SECRET may
 * hold several with a space between, and the header several signatures: so a secret is replaced by
 * another without a moment in which webhooks are refused.
 */
function isSigned(string $id, string $timestamp, string $signatures, string $body): bool
{
    if ($id === '' || !ctype_digit($timestamp) || abs(time() - (int) $timestamp) > TOLERANCE_S) {
        return false;
    }
    foreach (explode(' ', setting('WEBHOOK_SECRET')) as $secret) {
        $key = base64_decode(substr($secret, strlen('whsec_')), strict: true);
        if ($key === false || strlen($key) < 24) {
            // With an empty key, anybody could sign.
            throw new RuntimeException('WEBHOOK_SECRET: expected whsec_ and 24 bytes or more');
        }
        $mac = hash_hmac('sha256', "$id.$timestamp.$body", $key, binary: true);
        $expected = 'v1,' . base64_encode($mac);
        foreach (explode(' ', $signatures) as $signature) {
            // `===` stops at the first byte that differs; its time tells how many were right.
            if (hash_equals($expected, $signature)) {
                return true;
            }
        }
    }
    return false;
}

/**
 * One transaction for both: the webhook is in the inbox if and only if its work is done. When the
 * same one comes again (the relay has not heard our answer), the inbox has it, and nothing is done;
 * when two come at the same moment, the second waits for the first at the INSERT.
 */
function cancelOrder(PDO $database, string $webhookId, string $orderId): void
{
    $database->beginTransaction();
    $inbox = $database->prepare(
        'INSERT INTO inbox (webhook_id) VALUES (?) ON DUPLICATE KEY UPDATE webhook_id = webhook_id'
    );
    $inbox->execute([$webhookId]);
    if ($inbox->rowCount() === 1) {
        // A payment may have come a moment before: only what is still unpaid is cancelled.
        $database
            ->prepare(
                "UPDATE orders SET status = 'cancelled', cancelled_at = CURRENT_TIMESTAMP(3) "
                . "WHERE id = ? AND status = 'unpaid'"
            )
            ->execute([$orderId]);
    }
    $database->commit();
}

/** The order that the webhook is about; null when the body is none that is understood here. */
function orderIn(string $body): ?string
{
    $id = json_decode($body, associative: true)['data']['params']['id'] ?? null;
    return is_string($id) ? $id : null;
}

// Until all is done. An error that nobody caught must not look like success: the relay tries again
// after any 5xx, and never after a 2xx.
http_response_code(500);

$id = $_SERVER['HTTP_WEBHOOK_ID'] ?? '';
$timestamp = $_SERVER['HTTP_WEBHOOK_TIMESTAMP'] ?? '';
$signatures = $_SERVER['HTTP_WEBHOOK_SIGNATURE'] ?? '';
// The bytes as they came: what json_decode and json_encode make of them has another signature.
$body = file_get_contents('php://input');

if (!isSigned($id, $timestamp, $signatures, $body)) {
    http_response_code(401);
    return;
}

if (str_starts_with($id, 'msg_test_')) {
    // `expiry-relay send` tries the way to here: no key has expired, and no order is too late.
    http_response_code(204);
    return;
}
$orderId = orderIn($body);
if ($orderId === null) {
    // A route with a custom body. The id is not kept, so that a retry can succeed.
    error_log("webhook $id: expected JSON with data.params.id");
    http_response_code(400);
    return;
}
try {
    cancelOrder(database(), $id, $orderId);
} catch (PDOException $trouble) {
    error_log("webhook $id: " . $trouble->getMessage());
    http_response_code(503);
    return;
}
http_response_code(204);
