<?php

/** The customer has paid: `php pay-order.php ID`. */

declare(strict_types=1);

require __DIR__ . '/connections.php';

$id = $argv[1] ?? '';
if ($id === '') {
    fwrite(STDERR, "usage: php pay-order.php ID\n");
    exit(2);
}

// The row decides between a payment and a cancellation that come at the same moment, not the key.
$update = database()->prepare(
    "UPDATE orders SET status = 'paid' WHERE id = ? AND status = 'unpaid'"
);
$update->execute([$id]);
if ($update->rowCount() === 0) {
    fwrite(STDERR, "order $id is not there, or is paid or cancelled already\n");
    exit(1);
}

// No key, no webhook. Should this fail, one comes, and finds that the order is paid.
redis()->del("order:$id:unpaid");

echo "order $id is paid\n";
