-- utf8mb4_bin: keys in Redis, and so the ids in them, are bytes; `a` and `A` are two orders.
CREATE TABLE orders (
  id           VARCHAR(64)  CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL PRIMARY KEY,
  status       ENUM('unpaid', 'paid', 'cancelled') NOT NULL DEFAULT 'unpaid',
  placed_at    TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  cancelled_at TIMESTAMP(3) NULL DEFAULT NULL
) ENGINE = InnoDB;

-- The webhooks that have been dealt with. What is older than the relay's last retry may go.
CREATE TABLE inbox (
  webhook_id  VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL PRIMARY KEY,
  received_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) ENGINE = InnoDB;
