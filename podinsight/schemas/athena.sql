CREATE EXTERNAL TABLE IF NOT EXISTS $table (
  `text` string COMMENT 'what was said',
  `start_sec` double COMMENT 'seconds from the beginning of the episode',
  `end_sec` double COMMENT 'seconds from the beginning of the episode',
  `speaker` int COMMENT 'who speaks, by the order in which they first do; null when nobody says'
)
PARTITIONED BY (
  `feed_slug` string COMMENT 'folder of the feed',
  `guid` string COMMENT 'folder of the episode'
)
ROW FORMAT SERDE 'org.openx.data.jsonserde.JsonSerDe'
STORED AS TEXTFILE
LOCATION $location
TBLPROPERTIES ('classification' = 'json')
