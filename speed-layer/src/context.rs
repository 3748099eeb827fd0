//! What every step of a speed worker shares: components, settings, compiled plans. Immutable once built, but for the
//! newest version of the master dataset that was read (whoever needs it reads on from there) and the schemas that are
//! known.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::record_batch::RecordBatch;
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;
use event_log::{LifeLog, Record};
use positions::{
    BorderRule, DefinitionHash, DefinitionNumber, Erased, IndexStamp, PartitionId, RunId, TimestampMicros,
};
use records::RecordsError;
use records::decode::{Decoder, leave_out};
use records::master::MasterSnapshot;
use records::registry::SchemaBook;
use serving_layer::PartitionKey;

use crate::plans::CompiledView;
use crate::{Keeping, SpeedComponents, SpeedError, SpeedSettings};

/// How often the list of what was erased is asked for before that counts as failed.
const LISTINGS: usize = 3;

/// Shared by all steps of a worker.
pub(crate) struct Context {
    pub components: SpeedComponents,
    /// The log in the present life of the topic.
    pub log: LifeLog,
    pub settings: SpeedSettings,
    /// One per view that runs hold, in the order of `components.views`.
    pub plans: Vec<CompiledView>,
    /// The schemas that payloads name: those of the master dataset, and what was learned since.
    pub book: SchemaBook,
    decoder: Decoder,
    // Never held across a wait.
    master: Mutex<Option<MasterSnapshot>>,
    /// What was erased, as far as the last start of a partition read it. Never held across a wait.
    erased: Mutex<Arc<Erased>>,
    session: SessionState,
}

impl Context {
    /// Compiles the plans of all views, once. `master`: what is archived; the worker reads the log in the life that it
    /// names.
    pub async fn new(
        components: SpeedComponents,
        settings: SpeedSettings,
        master: Option<MasterSnapshot>,
    ) -> Result<Self, SpeedError> {
        let mut plans = Vec::with_capacity(components.views.len());
        for view in components.views.iter().filter(|view| view.keeping != Keeping::Standing) {
            plans.push(CompiledView::compile(view.definition.clone()).await?);
        }
        let base = views::session_state();
        let config = base.config().clone().with_target_partitions(settings.files_at_once.max(1));
        let session = SessionStateBuilder::new_from_existing(base).with_config(config).build();
        let life = master.as_ref().map(|master| master.facts.life.clone()).unwrap_or_default();
        let log = LifeLog::new(components.log.clone(), life);
        let book = SchemaBook::new(components.registry.clone());
        if let Some(master) = &master {
            book.note(&master.facts.schemas);
        }
        let decoder = Decoder::new(components.source.clone());
        Ok(Self {
            components,
            log,
            settings,
            plans,
            book,
            decoder,
            master: Mutex::new(master),
            erased: Mutex::default(),
            session,
        })
    }

    /// The newest version of the master dataset, `None` where nothing was archived yet. Two small requests where
    /// nothing is new; a table of many versions is read whole once.
    ///
    /// # Errors
    /// Try again.
    pub async fn master(&self) -> Result<Option<MasterSnapshot>, SpeedError> {
        let known = self.master.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let read = match &known {
            Some(known) => self.components.master.refresh(known).await.map(Some),
            None => self.components.master.open().await,
        };
        let keeps = match &read {
            Ok(newest) => newest.clone(),
            // Only where the store does not answer is it known that the version is not the reason.
            Err(RecordsError::Lake(error)) if error.is_transient() => known,
            Err(_) => None,
        };
        *self.master.lock().unwrap_or_else(PoisonError::into_inner) = keeps;
        Ok(read?)
    }

    /// What is left out of the log.
    pub fn erased(&self) -> Arc<Erased> {
        Arc::clone(&self.erased.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reads what was erased since; returns up to which entry of the list it is known now. One listing, a few where it
    /// fails: a start needs two of them, and should not fail the more often for it.
    ///
    /// # Errors
    /// Try again.
    pub async fn load_erased(&self) -> Result<u64, SpeedError> {
        let known = self.erased();
        let list = self.components.master.erased();
        let mut newer = list.refresh(&known).await;
        for _ in 1..LISTINGS {
            if newer.is_err() {
                newer = list.refresh(&known).await;
            }
        }
        let Some(newer) = newer.map_err(RecordsError::from)? else { return Ok(known.number) };
        let number = newer.number;
        *self.erased.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(newer);
        Ok(number)
    }

    /// Decodes records of the source, without what was erased; the schemas that are missing for it are noted, to be
    /// learned.
    ///
    /// # Errors
    /// [`RecordsError::SchemaMissing`]: try again once they are. A defect of decoding.
    pub fn decode(&self, records: &[Record]) -> Result<RecordBatch, RecordsError> {
        let source = &self.components.source;
        self.book.want(source, records);
        let (schemas, erased) = (self.book.schemas(), self.erased());
        if !records.iter().any(|record| erased.of(record.partition, record.offset).is_some()) {
            return self.decoder.decode_with(&schemas, records).map(|(rows, _)| rows);
        }
        let mut left = records.to_vec();
        leave_out(&self.decoder, &schemas, &erased, &mut left)?;
        self.decoder.decode_with(&schemas, &left).map(|(rows, _)| rows)
    }

    /// The plans of the views that new runs hold at this moment.
    pub fn needed_plans(&self) -> impl Iterator<Item = &CompiledView> {
        let needed = self.components.views.iter().filter(|view| self.components.needs(view));
        let needed: Vec<DefinitionHash> = needed.map(|view| view.definition.hash).collect();
        self.plans.iter().filter(move |plans| needed.contains(&plans.definition.hash))
    }

    /// A session to read the master dataset in.
    pub fn session(&self) -> SessionContext {
        SessionContext::new_with_state(self.session.clone())
    }

    pub fn key(&self, partition: PartitionId) -> PartitionKey {
        let source = &self.components.source.name;
        PartitionKey { generation: self.components.generation(), ..PartitionKey::new(source, partition) }
    }

    /// Where runs end. In a generation nowhere: no cut will come.
    pub fn border(&self) -> &BorderRule {
        if self.components.generation().is_some() { &BorderRule::NONE } else { &self.components.source.border }
    }

    pub fn now(&self) -> TimestampMicros {
        self.components.clock.now()
    }

    /// The number to write under at this moment.
    pub fn definitions(&self) -> DefinitionNumber {
        self.components.definitions.number()
    }

    pub fn draw_stamp(&self) -> IndexStamp {
        IndexStamp(self.components.ids.next_id())
    }

    pub fn draw_run_id(&self) -> RunId {
        RunId(self.components.ids.next_id())
    }
}
