-- Orders and their payments.

create table orders (
    id uuid not null,
    item text not null,
    quantity integer not null,
    state text not null default 'placed',
    placed_at timestamptz not null default now(),
    constraint orders_pkey primary key (id),
    constraint orders_item_check check (item <> '' and length(item) <= 200),
    constraint orders_quantity_check check (quantity between 1 and 1000),
    constraint orders_state_check check (state in ('placed', 'paid', 'expired'))
);
comment on table orders is 'One row an order, whatever became of it.';

-- What the job looks for: few, whatever the number of orders.
create index orders_open_idx on orders (placed_at) where state = 'placed';
