-- Clips that sound like others, by cosine distance of their embeddings.
--
-- Replace PROJECT.DATASET.TABLE by the table of --bigquery_table. Parameters:
--   bq query --use_legacy_sql=false --parameter=clip_id::0687a232ab7dddd7d362dc647147a3bc \
--     --parameter='class_name::Bicycle bell' "$(cat vector_search.sql)"
--
-- VECTOR_SEARCH wants non-null vectors of one length on both sides: embedding has 1024 numbers in every row, because rows are
-- checked before they are loaded. Without an index (vector_index.sql) it compares with every row: exact, and it reads the whole
-- embedding column, 8 kB a clip. With one it is approximate; fraction_lists_to_search trades speed for recall.
--
-- Not run by our tests: the BigQuery of the tests has no VECTOR_SEARCH. They run the subqueries.

-- 1. The 20 clips nearest to the clip @clip_id, itself left out.
SELECT
  base.clip_id,
  base.uri,
  1 - distance AS cosine_similarity
FROM
  VECTOR_SEARCH(
    (SELECT clip_id, uri, embedding FROM `PROJECT.DATASET.TABLE`),
    'embedding',
    (SELECT clip_id, embedding FROM `PROJECT.DATASET.TABLE` WHERE clip_id = @clip_id),
    top_k => 21,
    distance_type => 'COSINE')
WHERE base.clip_id != query.clip_id
ORDER BY distance;

-- 2. The clips nearest to the ten that score highest for the class @class_name (as in AudioSet: 'Bicycle bell'), each
--    with its nearest of the ten: more of a kind than the class's own score finds.
SELECT
  base.clip_id,
  base.uri,
  ARRAY_AGG(query.clip_id ORDER BY distance LIMIT 1)[OFFSET(0)] AS nearest_of_the_class,
  1 - MIN(distance) AS cosine_similarity
FROM
  VECTOR_SEARCH(
    (SELECT clip_id, uri, embedding FROM `PROJECT.DATASET.TABLE`),
    'embedding',
    (SELECT t.clip_id, t.embedding FROM `PROJECT.DATASET.TABLE` AS t
     JOIN `PROJECT.DATASET.TABLE_top_classes` AS c ON c.clip_id = t.clip_id
     WHERE c.class_name = @class_name
     ORDER BY c.score DESC LIMIT 10),
    top_k => 50,
    distance_type => 'COSINE')
GROUP BY base.clip_id, base.uri
ORDER BY cosine_similarity DESC;
