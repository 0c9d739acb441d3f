<?php

/** An order that is cancelled unless it is paid in time: `php place-order.php ID SECONDS`. */

declare(strict_types=1);

require __DIR__ . '/connections.php';

[, $id, $seconds] = $argv + [1 => '', 2 => ''];
if ($id === '' || str_contains($id, ':') || !ctype_digit($seconds) || (int) $seconds < 1) {
    fwrite(STDERR, "usage: php place-order.php ID SECONDS\n");
    exit(2);
}

$database = database();
$database->beginTransaction();
$database->prepare("INSERT INTO orders (id, status) VALUES (?, 'unpaid')")->execute([$id]);
// Before the commit: no order is ever there without its deadline. If the commit fails, a webhook
// comes for an order that does not exist, which changes nothing.
if (!redis()->setex("order:$id:unpaid", (int) $seconds, '')) {
    throw new RuntimeException('expected Redis to take the key, but it refused');
}
$database->commit();

echo "order $id is placed; it is cancelled in $seconds s unless it is paid\n";
