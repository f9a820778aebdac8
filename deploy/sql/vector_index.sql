-- An index that makes VECTOR_SEARCH (vector_search.sql) approximate and fast.
--
-- Replace PROJECT.DATASET.TABLE by the table of --bigquery_table, and run once: BigQuery keeps the index up to date by itself, in the
-- background, also after the MERGE of a run; rows it has not reached yet are searched all the same.
--
-- Limits, as BigQuery's documentation states them (look there before you rely on one): one vector index a table; at
-- least 5000 rows, and below 10 MB the index stays empty and searches are exact; the column must be ARRAY<FLOAT64> without
-- nulls, all of one length. A search has to name the same distance type. A query that searches a subquery of the table
-- uses the index only if it selects no more than the columns stored in it.
-- State: SELECT * FROM `PROJECT.DATASET.INFORMATION_SCHEMA.VECTOR_INDEXES`.
--
-- Not run by our tests: the BigQuery of the tests has no vector index.
CREATE VECTOR INDEX IF NOT EXISTS clip_embeddings
ON `PROJECT.DATASET.TABLE` (embedding)
STORING (clip_id, uri)
OPTIONS (index_type = 'IVF', distance_type = 'COSINE');
