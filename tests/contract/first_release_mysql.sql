-- What the release before migrations (commit 2244aac) sent to a new database.

CREATE TABLE product (
    id BIGINT NOT NULL AUTO_INCREMENT,
    milvus_id BIGINT NOT NULL,
    sku VARCHAR(100) COLLATE {exact},
    title VARCHAR(500) COLLATE {exact} NOT NULL,
    description TEXT,
    category VARCHAR(100) COLLATE {exact},
    brand VARCHAR(100) COLLATE {exact},
    price NUMERIC(12, 2),
    attributes JSON NOT NULL,
    image_hash VARCHAR(64),
    revision INTEGER NOT NULL,
    index_status VARCHAR(16) NOT NULL,
    index_error VARCHAR(500),
    created_at DATETIME(6) NOT NULL,
    updated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id),
    UNIQUE (milvus_id),
    UNIQUE (sku)
)CHARSET=utf8mb4;

CREATE INDEX ix_product_price ON product (price);

CREATE INDEX ix_product_category ON product (category);

CREATE INDEX ix_product_brand ON product (brand);

CREATE INDEX ix_product_index_status ON product (index_status);

CREATE TABLE outbox_event (
    id BIGINT NOT NULL AUTO_INCREMENT,
    product_id BIGINT NOT NULL,
    milvus_id BIGINT NOT NULL,
    operation VARCHAR(16) NOT NULL,
    revision INTEGER NOT NULL,
    created_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id)
)CHARSET=utf8mb4;

CREATE INDEX ix_outbox_event_product ON outbox_event (product_id);

CREATE TABLE active_collection (
    id INTEGER NOT NULL,
    name VARCHAR(100) NOT NULL,
    encoder_fingerprint VARCHAR(64) NOT NULL,
    activated_at DATETIME(6) NOT NULL,
    PRIMARY KEY (id)
)CHARSET=utf8mb4;
